"""`manage.py wsgiperf config`: every setting as it is in force, and where it was set."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from django.core.management.base import BaseCommand

from django_wsgiperf.conf import MASK, SECTIONS, Origin, Resolved, Source, load, options

from ._terminal import width

help = "Show every setting as it is in force, and where it was set."
examples = """\
examples:
  manage.py wsgiperf config                  everything
  manage.py wsgiperf config --changed        only what somebody set
  manage.py wsgiperf config cache --json     one section, for programs

`serve --print-config` also shows what its command line says."""


def add_arguments(parser: ArgumentParser) -> None:
    """The sections that are wanted, and how."""
    names = ", ".join(section.lower() for section in SECTIONS)
    parser.add_argument("section", nargs="*", help=f"only these sections: {names}", type=_section, default=[])
    parser.add_argument("--changed", action="store_true", help="only what is not a default")
    parser.add_argument("--json", action="store_true", help="as JSON; secrets are masked here too")


def _section(text: str) -> str:
    if text.upper() in SECTIONS:
        return text.upper()
    raise ArgumentTypeError(f"there is no section {text!r}; there are {', '.join(map(str.lower, SECTIONS))}")


def handle(command: BaseCommand, given: dict[str, Any]) -> int | None:
    """Print the sections. Settings that cannot be read are the frame's to report."""
    resolved = list(_resolved(given["section"] or list(SECTIONS)))
    if given["json"]:
        command.stdout.write(json.dumps(_as_json(resolved, changed=given["changed"]), indent=2, ensure_ascii=False))
        return None
    from django_wsgiperf.server.summary import config_table

    columns = width(command.stdout)
    table = config_table(resolved, command.style, changed=given["changed"], columns=columns)
    command.stdout.write(table or "Every setting has its default.")
    return None


def _resolved(sections: Sequence[str]) -> Iterator[Resolved[Any]]:
    """The sections, and with the pool's those of the databases that have keys of their own."""
    yield from (load(section) for section in sections)
    if "POOL" in sections:
        from django_wsgiperf.checks.facts import pooled_databases

        yield from (pooled.resolved for pooled in pooled_databases())


def _as_json(resolved: Sequence[Resolved[Any]], *, changed: bool) -> dict[str, Any]:
    """Section -> key -> value, origin and whether it is the default; a database's own pool under its place."""
    shown: dict[str, Any] = {}
    for each in resolved:
        own = [origin for origin in each.origins.values() if origin.name.startswith("DATABASES")]
        name = own[0].name.rpartition("[")[0] if own else each.section
        if not own and name in shown:
            continue  # a database whose pool is like all others
        rows = shown.setdefault(name, {})
        secrets = {option.name for option in options(each.section) if option.secret}
        for field in fields(each.values):
            origin = each.origins[field.name]
            if (changed and origin.source is Source.DEFAULT) or (own and origin not in own):
                continue
            value = getattr(each.values, field.name)
            if field.name in secrets:
                value = MASK if value else ""
            rows[field.name.upper()] = _row(value, origin)
    return {name: rows for name, rows in shown.items() if rows or not changed}


def _row(value: Any, origin: Origin) -> dict[str, Any]:
    return {"value": value, "origin": str(origin), "is_default": origin.source is Source.DEFAULT}
