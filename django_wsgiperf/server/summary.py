"""What `serve` says of itself: the summary when it listens, and the table of `--print-config`.

Pure text: the caller passes what is to be shown and Django's style, whose functions colour nothing for a pipe.
"""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import django
from django.conf import settings as django_settings

from django_wsgiperf import __version__
from django_wsgiperf.conf import Option, Origin, Resolved, ServerSettings, Source, describe, options

_WIDEST_VALUE = 38
_NARROWEST_VALUE = 20


def start_summary(
    resolved: Resolved[ServerSettings],
    addresses: Sequence[str],
    style: Any,
    pid: int,
    parts: Sequence[tuple[str, str]] = (),
) -> str:
    """A few lines: where, with what, which project, its health pages, and how to stop and to reload.

    `parts` are lines on what else is at work, a label and a text each; see parts.py.
    """
    settings = resolved.values
    title = style.SUCCESS(f"django-wsgiperf {__version__}")
    lines = ["", f"  {title} on Django {django.get_version()}, Python {platform.python_version()}", ""]
    lines += [f"  {label:>9}  {text}" for label, text in _facts(resolved, settings, addresses, style, pid, parts)]
    return "\n".join([*lines, "", ""])


def _facts(
    resolved: Resolved[ServerSettings],
    settings: ServerSettings,
    addresses: Sequence[str],
    style: Any,
    pid: int,
    parts: Sequence[tuple[str, str]],
) -> Iterator[tuple[str, str]]:
    for number, address in enumerate(addresses):
        yield "" if number else "serving", style.MIGRATE_HEADING(address)
    processes = "1 process" if settings.workers == 1 else f"{settings.workers} processes"
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    yield "with", f"{processes} x {threads} ({_origins(resolved)})"
    yield from parts
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
    warning = style.WARNING(f"{'warning':>9}")
    if django_settings.DEBUG:
        yield warning, "DEBUG is on: error pages show source and settings to everybody"
    elif not django_settings.ALLOWED_HOSTS:
        # runserver refuses to start. What looks at no host would be served all the same.
        yield warning, "ALLOWED_HOSTS is empty, and DEBUG off: Django refuses every request with 400"


def _origins(resolved: Resolved[ServerSettings]) -> str:
    """Where the two numbers come from, said once when they come from the same place."""
    workers, threads = (_short(resolved.origins[name]) for name in ("workers", "threads"))
    return workers if workers == threads else f"workers: {workers}, threads: {threads}"


def _short(origin: Origin) -> str:
    """`--threads`, `WSGIPERF_THREADS`, `settings` or `default`."""
    return origin.name if origin.source in (Source.COMMAND_LINE, Source.ENVIRONMENT) else str(origin.source)


def config_table(
    resolved: Sequence[Resolved[Any]], style: Any, *, changed: bool = False, columns: int | None = None
) -> str:
    """Every option with its value and origin, in the groups of the settings reference. Secrets are masked.

    A further section under the title of an earlier one is a database's own: of it, only what differs is shown. With
    `changed`, only what is not a default is shown, of all. What is wider than a terminal of so many `columns` goes on
    in further lines; without them each option has one line.
    """
    key_width = max(len(option.key) for each in resolved for option in options(each.section))
    lines: list[str] = []
    shown: dict[str, Resolved[Any]] = {}
    for each in resolved:
        base = shown.setdefault(each.section, each)
        title = ""
        for option, row in zip(options(each.section), describe(each), strict=True):
            origin = each.origins[option.name]
            if each is not base and origin == base.origins[option.name]:
                continue
            if changed and origin.source is Source.DEFAULT:
                continue
            if title != (title := _title(option, origin if each is not base else None)):
                lines += ["", style.MIGRATE_HEADING(title)] if lines else [style.MIGRATE_HEADING(title)]
            shown_row = _option_lines(f"  {row.key:<{key_width}}  ", row.value, row.origin, columns)
            lines += shown_row if origin.source is Source.DEFAULT else map(style.SUCCESS, shown_row)
    return "\n".join(lines)


def _option_lines(head: str, value: str, origin: str, columns: int | None) -> list[str]:
    """One line where it fits. Else the value goes on below itself, and the origin follows it, or stands on its own."""
    if columns is None:
        return [f"{head}{value:<{_WIDEST_VALUE}}  {origin}"]
    room = max(_NARROWEST_VALUE, columns - len(head))
    # So that those that fit are aligned, most of which say "default".
    width = min(_WIDEST_VALUE, max(_NARROWEST_VALUE, room - len(f"  {Source.DEFAULT}")))
    values = [value] if len(value) <= width else textwrap.wrap(value, room, break_on_hyphens=False)
    last = f"{values[-1]:<{width}}  {origin}"
    indent = " " * len(head)
    below = []
    if len(last) <= room:
        values[-1] = last
    else:
        # Names of settings are long, and to be copied whole.
        places = (len(head) + width + 2, len(head))
        place = next((place for place in places if place + len(origin) <= columns), max(4, columns - len(origin)))
        below = [" " * place + origin]
    return [head + values[0], *(indent + each for each in values[1:]), *below]


def _title(option: Option, own: Origin | None) -> str:
    """The server's groups by their names, other sections' with theirs before it, a database's own by where it is."""
    if own is not None:
        return own.name.removesuffix(f"[{option.key!r}]")
    return option.group if option.section == "SERVER" else f"{option.section}: {option.group}"
