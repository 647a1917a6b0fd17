"""`manage.py wsgiperf purge`: pages are purged by address, by tag or all of them, in every process that keeps them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from . import FINDINGS, UsageError
from ._processes import Asked, ask_caches
from ._terminal import count, printable, table, width

if TYPE_CHECKING:
    from django_wsgiperf.cache.engine import Engine

help = "Purge pages from the response cache, by address, by tag, or all of them."
examples = """\
examples:
  manage.py wsgiperf purge /books/ https://shop.example/books/?page=2
  manage.py wsgiperf purge --tag book:7 --tag authors
  manage.py wsgiperf purge --all --soft
  manage.py wsgiperf purge --tag books --dry-run

An address without a host is meant for all hosts. With a shared store (STORE), every process on every host that shares
it hears of the purge; without one, the processes on this host are told. A soft purge makes pages stale instead: where
their swr allows it they are still used while a new one is made."""


def add_arguments(parser: ArgumentParser) -> None:
    """What to purge, and how."""
    parser.add_argument("url", nargs="*", help="an address, or a path for all hosts")
    parser.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="pages with this tag")
    parser.add_argument("--all", action="store_true", help="every page")
    parser.add_argument("--soft", action="store_true", help="make them stale, instead of gone")
    parser.add_argument("--dry-run", action="store_true", help="only tell how many pages it would hit")
    parser.add_argument("--json", action="store_true", help="tell what was done as JSON")


def handle(command: BaseCommand, options: dict[str, Any]) -> int | None:
    """Purge, or tell what that would do."""
    from django_wsgiperf.cache import runtime

    order = _order(options)
    engine = runtime.engine()
    if engine is None:
        raise CommandError("the response cache is off: WSGIPERF['CACHE']['ENABLED'] is false", returncode=FINDINGS)
    if options["dry_run"]:
        return _tell(command, engine, order, options)
    if engine.store is not None:
        return _purge_shared(command, engine, order, options)
    return _purge_here(command, order, options)


def _order(options: dict[str, Any]) -> dict[str, Any]:
    """What is to be purged, as it goes to other processes. Raises UsageError."""
    from django_wsgiperf.cache.addresses import target_of
    from django_wsgiperf.cache.annotations import check_tag

    urls, tags = list(dict.fromkeys(options["url"])), list(dict.fromkeys(options["tags"]))
    if not (urls or tags or options["all"]):
        raise UsageError("say what to purge: addresses, --tag TAG, or --all")
    if options["all"] and (urls or tags):
        raise UsageError("--all is everything: leave out the addresses and tags, or leave out --all")
    try:
        for url in urls:
            target_of(url)
        for tag in tags:
            check_tag(tag)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from None
    return {"urls": urls, "tags": tags, "all": options["all"], "soft": options["soft"]}


def _what(order: dict[str, Any]) -> str:
    """The order in words."""
    parts = [count(len(order[key]), name, plural) for key, name, plural in _NAMES if order[key]]
    return "everything" if order["all"] else " and ".join(parts)


_NAMES = (("urls", "address", "addresses"), ("tags", "tag", "tags"))


def _purge_shared(command: BaseCommand, engine: Engine, order: dict[str, Any], options: dict[str, Any]) -> int | None:
    from django_wsgiperf.cache.purging import purge, purge_all

    assert engine.store is not None
    soft = order["soft"]
    done = (
        purge_all(soft=soft, on_commit=False)
        if order["all"]
        else purge(urls=order["urls"], tags=order["tags"], soft=soft, on_commit=False)
    )
    title = engine.store.title
    # What this process could not pass on ends with it; the others purge for themselves, and pass it on.
    told = Asked() if done.everywhere else ask_caches({"purge": order})
    if options["json"]:
        facts = {**order, "store": title, "everywhere": done.everywhere, "processes": sorted(told.replies)}
        command.stdout.write(json.dumps(facts, indent=2))
    if not done.everywhere:
        raise CommandError(_unreachable(title, len(told.replies)), returncode=FINDINGS)
    if not options["json"] and options["verbosity"]:
        how = "made stale" if soft else "purged"
        text = f"{_what(order)} {how}, for every process that shares {title}"
        command.stdout.write(command.style.SUCCESS(text))
    return None


def _purge_here(command: BaseCommand, order: dict[str, Any], options: dict[str, Any]) -> int | None:
    asked = ask_caches({"purge": order})
    if options["json"]:
        told = {**order, "store": None, "processes": sorted(asked.replies), "failures": asked.failures}
        command.stdout.write(json.dumps(told, indent=2))
    elif not asked.anybody:
        command.stderr.write(command.style.WARNING(NOBODY))
    elif asked.replies and options["verbosity"]:
        how = "made stale" if order["soft"] else "purged"
        text = f"{_what(order)} {how}, in {count(len(asked.replies), 'process', 'processes')} on this host"
        command.stdout.write(command.style.SUCCESS(text))
    return _say_failures(command, asked)


def _unreachable(title: str, processes: int) -> str:
    if not processes:
        return f"{title} does not answer, so nobody heard of the purge: nothing was purged. Try again when it is back"
    told = count(processes, "process", "processes")
    return (
        f"{title} does not answer. {told} on this host purged for themselves and will pass it on when it is back; "
        "until then, other hosts go on with what they have in memory"
    )


NOBODY = (
    "No process of this project answers on this host, so there is nothing to purge here. Each process has pages of its "
    "own, as WSGIPERF['CACHE']['STORE'] is not set; those of other users and hosts are out of reach."
)


def _say_failures(command: BaseCommand, asked: Asked) -> int | None:
    for name, why in asked.failures.items():
        command.stderr.write(command.style.ERROR(f"{name}: {printable(why)}"))
    return FINDINGS if asked.failures else None


def _tell(command: BaseCommand, engine: Engine, order: dict[str, Any], options: dict[str, Any]) -> int | None:
    """How many pages the order hits, in the memory of each process."""
    asked = ask_caches({"matching": order})
    title = None if engine.store is None else engine.store.title
    found = {name: reply["matching"] for name, reply in asked.replies.items()}
    if options["json"]:
        told = {**order, "dry_run": True, "store": title, "processes": found, "failures": asked.failures}
        command.stdout.write(json.dumps(told, indent=2))
        return FINDINGS if asked.failures else None
    how = "make stale" if order["soft"] else "purge"
    if found or title is not None:
        command.stdout.write(command.style.MIGRATE_HEADING(f"Would {how} {_what(order)}:"))
    names = [*order["urls"], *order["tags"]]
    rows = [_row(printable(name), name, found) for name in names]
    if len(names) != 1:
        rows.append(_row("together" if names else "everything", "all", found))
    if found:
        text = table(("pages", "in processes", ""), rows, right=(0, 1), widest=width(command.stdout))
        command.stdout.write(text)
    if title is not None:
        command.stdout.write(f"  and whatever of it {title} has, for every process that shares it")
    elif not asked.anybody:
        command.stderr.write(command.style.WARNING(NOBODY))
    return _say_failures(command, asked)


def _row(title: str, name: str, found: Mapping[str, Mapping[str, int]]) -> list[str]:
    """So many pages, in so many of the processes."""
    pages = [matching.get(name, 0) for matching in found.values()]
    return [f"{sum(pages):,}", f"{sum(map(bool, pages))} of {len(pages)}", title]
