"""`manage.py wsgiperf warm`: the pages of a sitemap or of a list are asked for, so that the cache has them."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from . import FINDINGS, UsageError
from ._terminal import Bar, count, printable, span

if TYPE_CHECKING:
    from django_wsgiperf.cache.warming.crew import Tally
    from django_wsgiperf.cache.warming.sources import Found

help = "Ask for the pages of a sitemap or list, so that the cache has them."
examples = """\
examples:
  manage.py wsgiperf warm https://shop.example/sitemap.xml
  manage.py wsgiperf warm https://shop.example/sitemap.xml --base http://127.0.0.1:8000
  manage.py wsgiperf warm pages.txt --base unix:/run/shop.sock --variants encodings,languages
  grep -v account pages.txt | manage.py wsgiperf warm - --concurrency 8

A source is the address of a sitemap, a file (a sitemap, or an address on each line), or - for standard input;
sitemap indexes and gzipped files are read too. With --base, every page is asked for there instead of where its
address leads, with the Host of the address; a file may then hold paths alone. It exits with 1 when a page failed,
or with --strict when one was not cached."""

KINDS: Final = ("encodings", "languages")


def add_arguments(parser: ArgumentParser) -> None:
    """What to ask for, where, and how hard."""
    parser.add_argument("source", nargs="+", help="a sitemap's address, a file of addresses, or - for standard input")
    parser.add_argument("--base", metavar="ADDRESS", help="ask there: http://127.0.0.1:8000, https://..., unix:FILE")
    parser.add_argument("--concurrency", type=_number(1, 64), default=4, help="requests at a time (default: 4)")
    parser.add_argument("--timeout", type=_seconds, default=30.0, metavar="S", help="for each page (default: 30)")
    parser.add_argument("--limit", type=_number(1, 1_000_000), default=50_000, help="pages (default: 50000)")
    parser.add_argument("--variants", type=_kinds, default=(), metavar="KINDS", help=f"also: {','.join(KINDS)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 also when a page was not cached")
    parser.add_argument("--dry-run", action="store_true", help="only list the pages")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text} is not within {least} and {most:,}".replace(",", "_"))
        return number

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time in seconds") from None
    if not 0 < seconds <= 3_600:
        raise ArgumentTypeError(f"{text} is not a time above 0 and up to 3600 seconds")
    return seconds


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(kind for kind in text.split(",") if kind)
    for kind in kinds:
        if kind not in KINDS:
            raise ArgumentTypeError(f"there are no variants by {kind!r}; there are {', '.join(KINDS)}")
    return kinds


def variants(kinds: tuple[str, ...]) -> list[dict[str, str]]:
    """The request fields of each variant. Without any kind: what a browser of today accepts, in no special language."""
    from django_wsgiperf.cache.compression import available

    encodings = ["gzip, deflate, br, zstd"]
    if "encodings" in kinds:
        encodings = [*available(), "identity"]
    languages = [""]
    if "languages" in kinds:
        languages = [code for code, _ in settings.LANGUAGES] if settings.USE_I18N else [settings.LANGUAGE_CODE]
    return [
        {"Accept-Encoding": encoding, **({"Accept-Language": language} if language else {})}
        for language in languages
        for encoding in encodings
    ]


def handle(command: BaseCommand, options: dict[str, Any]) -> int | None:
    """Collect the pages, ask for them, and say what came of it."""
    from django_wsgiperf.cache.warming.address import AddressError, parse_page, parse_place
    from django_wsgiperf.cache.warming.client import Client
    from django_wsgiperf.cache.warming.crew import warm
    from django_wsgiperf.cache.warming.sources import SourceError, collect

    base, base_page = None, None
    try:
        if options["base"]:
            base = parse_place(options["base"])
            base_page = parse_page("http://localhost" if base.socket_file else str(base))
    except AddressError as error:
        raise UsageError(f"--base: {error}") from None
    client = Client(base, timeout_s=options["timeout"])
    try:
        found = collect(options["source"], base=base, base_page=base_page, limit=options["limit"], client=client)
    except SourceError as error:
        raise CommandError(str(error), returncode=FINDINGS) from None
    finally:
        client.close()
    if options["dry_run"]:
        return _list(command, found, options)
    fields = variants(options["variants"])
    bar = Bar(command.stderr, len(found.pages) * len(fields) if options["verbosity"] else 0)
    began_s = time.monotonic()

    def show(tally: Tally) -> None:
        failed = tally.errors.total()
        bar.draw(tally.done, f"{failed:,} failed" if failed else "")

    try:
        tally = warm(
            found.pages,
            fields,
            place=base,
            concurrency=min(options["concurrency"], max(1, len(found.pages))),
            timeout_s=options["timeout"],
            on_progress=show,
        )
    finally:
        bar.clear()
    return _report(command, found, tally, len(fields), time.monotonic() - began_s, options)


def _list(command: BaseCommand, found: Found, options: dict[str, Any]) -> int | None:
    if options["json"]:
        command.stdout.write(json.dumps({"pages": [page.url for page in found.pages], **_left_out(found)}, indent=2))
    else:
        for page in found.pages:
            command.stdout.write(page.url)
        _say_left_out(command, found, options)
    return None if found.pages else FINDINGS


def _left_out(found: Found) -> dict[str, Any]:
    return {"sitemaps": found.sitemaps, "left_out": dict(found.left_out), "cut": found.is_cut}


def _report(
    command: BaseCommand, found: Found, tally: Tally, fields: int, took_s: float, options: dict[str, Any]
) -> int | None:
    from django_wsgiperf.cache.warming.outcome import Outcome
    from django_wsgiperf.cache.warming.sources import UNREADABLE

    failed = tally.counts[Outcome.FAILED]
    not_cached = tally.counts[Outcome.REFUSED] + tally.counts[Outcome.UNTOLD]
    if options["json"]:
        summary = {
            "pages": len(found.pages),
            "requests": tally.done,
            "seconds": round(took_s, 3),
            **{str(outcome): tally.counts[outcome] for outcome in Outcome},
            "refusals": dict(tally.refusals.most_common()),
            "errors": dict(tally.errors.most_common()),
            "failures": [{"url": url, "error": error} for url, error in tally.failures],
            **_left_out(found),
        }
        command.stdout.write(json.dumps(summary, indent=2, ensure_ascii=False))
    elif options["verbosity"] or failed:
        _say(command, found, tally, fields, took_s, options)
    is_amiss = failed or UNREADABLE in found.left_out or not found.pages or (options["strict"] and not_cached)
    return FINDINGS if is_amiss else None


def _say(command: BaseCommand, found: Found, tally: Tally, fields: int, took_s: float, options: dict[str, Any]) -> None:
    from django_wsgiperf.cache.warming.outcome import Outcome

    style = command.style
    out = command.stdout.write
    times = f" in {count(fields, 'variant')}" if fields > 1 else ""
    out(style.MIGRATE_HEADING(f"{count(len(found.pages), 'page')}{times}, {span(took_s)}"))
    colours = {Outcome.WARMED: style.SUCCESS, Outcome.REFUSED: style.WARNING, Outcome.FAILED: style.ERROR}
    notes = {Outcome.REFUSED: tally.refusals, Outcome.FAILED: tally.errors}
    for outcome in Outcome:
        number = tally.counts[outcome]
        if number or outcome in (Outcome.WARMED, Outcome.ALREADY):
            note = ", ".join(f"{why} {many:,}" for why, many in notes.get(outcome, {}).items())
            colour = colours.get(outcome, str) if number else str
            out(f"  {colour(f'{outcome:<8}{number:>8,}')}{'   ' + printable(note) if note else ''}")
    for url, error in tally.failures if options["verbosity"] > 1 else tally.failures[:10]:
        out(f"  {style.ERROR('failed')}  {printable(url)}  {printable(error)}")
    if tally.counts[Outcome.UNTOLD]:
        out(
            style.WARNING(
                f"  {count(tally.counts[Outcome.UNTOLD], 'answer')} had no Cache-Status of ours: "
                "the cache is not in front of these pages, is off, or does not show its status"
            )
        )
    _say_left_out(command, found, options)


def _say_left_out(command: BaseCommand, found: Found, options: dict[str, Any]) -> None:
    from django_wsgiperf.cache.warming.sources import NO_HOST, OTHER_SITE

    style = command.style
    for reason, number in found.left_out.items():
        examples = "; ".join(found.examples[reason] if options["verbosity"] > 1 else found.examples[reason][:1])
        command.stderr.write(style.WARNING(f"  {number:,} left out, {reason}: {printable(examples)}"))
        if reason == OTHER_SITE:
            command.stderr.write("  --base ADDRESS asks for them at the server you mean, whatever their host")
        elif reason == NO_HOST:
            command.stderr.write("  --base ADDRESS says where to ask for them: --base http://127.0.0.1:8000")
    if found.is_cut:
        command.stderr.write(
            style.WARNING(f"  There are more pages; --limit {options['limit']} or the sitemap's bound cut them off.")
        )
    if not found.pages:
        command.stderr.write(style.ERROR("  No page to ask for was found."))
