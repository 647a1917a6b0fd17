"""What `serve` says of itself: the summary when it listens, and the table of `--print-config`.

Pure text: the caller passes what is to be shown and Django's style, whose functions colour nothing for a pipe.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import django
from django.conf import settings as django_settings

from django_wsgiperf import __version__
from django_wsgiperf.conf import Origin, Resolved, ServerSettings, Source, describe, options

_WIDEST_VALUE = 34


def start_summary(resolved: Resolved[ServerSettings], addresses: Sequence[str], style: Any, pid: int) -> str:
    """A few lines: where, with what, which project, its health pages, and how to stop and to reload."""
    settings = resolved.values
    title = style.SUCCESS(f"django-wsgiperf {__version__}")
    lines = ["", f"  {title} on Django {django.get_version()}, Python {platform.python_version()}", ""]
    lines += [f"  {label:>9}  {text}" for label, text in _facts(resolved, settings, addresses, style, pid)]
    return "\n".join([*lines, "", ""])


def _facts(
    resolved: Resolved[ServerSettings], settings: ServerSettings, addresses: Sequence[str], style: Any, pid: int
) -> Iterator[tuple[str, str]]:
    for number, address in enumerate(addresses):
        yield "" if number else "serving", style.MIGRATE_HEADING(address)
    processes = "1 process" if settings.workers == 1 else f"{settings.workers} processes"
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    yield "with", f"{processes} x {threads} ({_origins(resolved)})"
    yield "project", os.environ.get("DJANGO_SETTINGS_MODULE", "")
    pages = [path for path in (settings.live_path, settings.ready_path) if path]
    if pages:
        yield "health", "  ".join(pages)
    if settings.reload:
        yield "reload", "on every save"
        yield "stop", "Ctrl-C"
    else:
        yield "reload", f"kill -HUP {pid} (new workers), kill -USR2 {pid} (new code)"
        yield "stop", f"Ctrl-C, or kill {pid}"
    if django_settings.DEBUG:
        yield style.WARNING(f"{'warning':>9}"), "DEBUG is on: error pages show source and settings to everybody"


def _origins(resolved: Resolved[ServerSettings]) -> str:
    """Where the two numbers come from, said once when they come from the same place."""
    workers, threads = (_short(resolved.origins[name]) for name in ("workers", "threads"))
    return workers if workers == threads else f"workers: {workers}, threads: {threads}"


def _short(origin: Origin) -> str:
    """`--threads`, `WSGIPERF_THREADS`, `settings` or `default`."""
    return origin.name if origin.source in (Source.COMMAND_LINE, Source.ENVIRONMENT) else str(origin.source)


def config_table(resolved: Resolved[ServerSettings], style: Any) -> str:
    """Every option with its value and origin, in the groups of the settings reference. Secrets are masked."""
    rows = describe(resolved)
    key_width = max(len(row.key) for row in rows)
    lines: list[str] = []
    group = ""
    for option, row in zip(options(resolved.section), rows, strict=True):
        if option.group != group:
            group = option.group
            lines += ["", style.MIGRATE_HEADING(group)] if lines else [style.MIGRATE_HEADING(group)]
        line = f"  {row.key:<{key_width}}  {row.value:<{_WIDEST_VALUE}}  {row.origin}"
        is_default = resolved.origins[option.name].source is Source.DEFAULT
        lines.append(line if is_default else style.SUCCESS(line))
    return "\n".join(lines)
