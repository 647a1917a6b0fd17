"""`manage.py wsgiperf stats`: the numbers of the admin page in a terminal, once or again and again, or as JSON."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style

from . import FINDINGS, UsageError

if TYPE_CHECKING:
    from ._stats_numbers import Numbers

help = "Show how requests fare: rates, response times, errors, where the time goes, by route and process."
examples = """\
examples:
  manage.py wsgiperf stats                                  the last hour, routes by the time that they took
  manage.py wsgiperf stats --period 24h --sort p95          which routes were slow since yesterday
  manage.py wsgiperf stats --route '/books/<int:pk>/'       one route; a part of its name will do
  manage.py wsgiperf stats --watch                          every 2 seconds until Ctrl-C
  manage.py wsgiperf stats --json | jq .totals.requests     for programs

With --watch and --json there is one object a line. Processes and what runs are those of now, whatever the period."""

PERIODS: Final = ("15m", "1h", "6h", "24h", "7d", "30d")
SORTS: Final = ("time", "requests", "p50", "p95", "p99", "max", "errors", "queries", "route")
_WATCH_S: Final = 2.0
_ALTERNATE, _MAIN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To the terminal's other screen, without a cursor, and back."""
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""What is between is shown at once, by terminals that know this."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: ArgumentParser) -> None:
    """Of which period, hosts and route, and how."""
    parser.add_argument("--period", choices=PERIODS, default="1h", help="until now (default: 1h)")
    parser.add_argument("--host", default="", help="of this host alone")
    parser.add_argument("--route", default="", metavar="R", help="all about one route: its template, or a part of it")
    parser.add_argument("--sort", choices=SORTS, default="time", help="order of the routes (default: time)")
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="routes to show (default: 20, with --watch as many as fit)"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=_WATCH_S,
        metavar="S",
        help=f"show them anew every S seconds (default: {_WATCH_S:g})",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of routes; write 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.2 <= seconds <= 3600:
        raise ArgumentTypeError(f"{text!r} is no time between two showings; write seconds, 0.2 to 3600")
    return seconds


def handle(command: BaseCommand, options: dict[str, Any]) -> int | None:
    """Show the numbers, once or until Ctrl-C. Exit code 1 when there are none for what was asked."""
    from django_wsgiperf import conf

    settings = conf.current("METRICS").values
    if not settings.enabled:
        raise CommandError("nothing is measured: WSGIPERF['METRICS']['ENABLED'] is false", returncode=FINDINGS)
    if settings.store == "memory":
        raise UsageError(
            "each process keeps its numbers to itself: WSGIPERF['METRICS']['STORE'] is 'memory'. "
            "Set it to 'database' or 'redis', or ask the server's /-/stats"
        )
    if options["watch"] is not None:
        return _watch(command, options)
    numbers = _gather(options)
    _write(command, _shown(command, options, numbers, limit=options["limit"] or 20))
    return FINDINGS if numbers.is_empty else None


def _gather(options: dict[str, Any]) -> Numbers:
    from django_wsgiperf.metrics.query import StoreError

    from ._stats_numbers import gather

    try:
        numbers = gather(options["period"], options["host"], options["route"], options["sort"])
    except StoreError as error:
        raise CommandError(f"the numbers cannot be read: {error}", returncode=FINDINGS) from None
    if options["route"] and numbers.detail is None and numbers.rows:
        names = [row.route for row in numbers.rows]
        like = [name for name in names if options["route"] in name] or get_close_matches(options["route"], names)
        meant = f"; there are {', '.join(like[:5])}" if like else ""
        raise CommandError(
            f"{'several routes have' if len(like) > 1 else 'no route has'} {options['route']!r} in the last "
            f"{options['period']}{meant}",
            returncode=FINDINGS,
        )
    return numbers


def _shown(command: BaseCommand, options: dict[str, Any], numbers: Numbers, *, limit: int, rows: int = 0) -> str:
    if options["json"]:
        from ._stats_numbers import as_json

        indent = None if options["watch"] is not None else 2
        return json.dumps(as_json(numbers), indent=indent, ensure_ascii=False)
    from ._stats_look import Look
    from ._stats_text import text

    stream = command.stdout
    is_terminal = stream.isatty() or bool(options.get("force_color"))
    look = Look(
        style=command.style if is_terminal else no_style(),
        columns=shutil.get_terminal_size().columns if stream.isatty() else 120,
        is_plain=not _can_write(stream, "▁█…·─"),
    )
    return text(numbers, look, limit=limit, rows=rows)


def _can_write(stream: Any, characters: str) -> bool:
    encoding = getattr(stream, "encoding", None) or getattr(getattr(stream, "_out", None), "encoding", None) or "utf-8"
    try:
        characters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(command: BaseCommand, text: str) -> None:
    command.stdout.write(text)


# -- again and again


def _watch(command: BaseCommand, options: dict[str, Any], wait: Callable[[float], object] | None = None) -> int | None:
    wait = wait or threading.Event().wait
    on_screen = command.stdout.isatty() and not options["json"]
    if on_screen:
        _raw(command, _ALTERNATE)
    try:
        while True:
            try:
                numbers = _gather(options)
                shown = _shown(command, options, numbers, limit=options["limit"] or 1000, rows=_rows(on_screen))
            except CommandError as error:
                # The store may come back, and the route have its first request.
                shown = json.dumps({"error": str(error)}) if options["json"] else str(error)
            if on_screen:
                _draw(command, shown)
            else:
                _write(command, shown)
                command.stdout.flush()
            wait(options["watch"])
    except KeyboardInterrupt:
        return None
    finally:
        if on_screen:
            _raw(command, _MAIN)


def _rows(on_screen: bool) -> int:
    """Lines that there is room for; 0 is no bound."""
    return max(10, shutil.get_terminal_size().lines) if on_screen else 0


def _draw(command: BaseCommand, text: str) -> None:
    """Over what was there, each line to its end, so that nothing is ever blank."""
    lines = text.splitlines()[: shutil.get_terminal_size().lines]
    body = f"{_REST_OF_LINE}\n".join(lines)
    _raw(command, f"{_BEGIN}{_HOME}{body}{_REST_OF_LINE}{_REST_OF_SCREEN}{_END}")


def _raw(command: BaseCommand, text: str) -> None:
    command.stdout.write(text, ending="")
    command.stdout.flush()
    sys.stdout.flush()
