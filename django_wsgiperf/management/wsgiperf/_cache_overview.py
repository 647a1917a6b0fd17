"""The caches of all processes side by side, as text: pages, memory, hit ratio, reasons, and the largest pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.management.base import BaseCommand

from django_wsgiperf.cache.policy.meanings import meaning

from ._processes import Asked
from ._terminal import count, printable, share, size, span, table, width

ANSWERED: Final = ("hits", "stale_hits", "collapsed", "revalidated", "misses", "bypasses")
FROM_CACHE: Final = ("hits", "stale_hits", "collapsed", "revalidated")
_HEAD: Final = ("requests", "hit ratio", "pages", "memory", "stale", "shared", "made", "past it", "process")

Numbers = Mapping[str, Any]


def show(command: BaseCommand, asked: Asked, largest: int) -> None:
    """Print it."""
    style, out = command.style, command.stdout.write
    for name, why in asked.failures.items():
        command.stderr.write(style.ERROR(f"{name}: {printable(why)}"))
    if not asked.replies:
        if not asked.failures:
            out("No process of this project with a response cache answers on this host.")
        return
    found = {name: reply["numbers"] for name, reply in asked.replies.items()}
    rows = [_row(name, numbers) for name, numbers in found.items()]
    if len(rows) > 1:
        rows.append(_row("all", total(list(found.values()))))
    columns = width(command.stdout)
    out(table(_HEAD, rows, right=range(len(_HEAD) - 1), colour_head=style.MIGRATE_HEADING, widest=columns))
    _show_store(command, found)
    _show_refusals(command, found)
    _show_trouble(command, found)
    _show_largest(command, asked, largest, columns)


def total(each: Sequence[Numbers]) -> dict[str, Any]:
    """The sums of what processes count, as far as they can be summed."""
    found: dict[str, Any] = {key: sum(numbers[key] for numbers in each) for key in ANSWERED}
    keys = ("entries", "bytes", "max_bytes")
    found["memory"] = {key: sum(numbers["memory"][key] for numbers in each) for key in keys}
    return found


def hit_ratio(numbers: Numbers) -> str:
    """Of the requests that the cache looked at. Those that went past it are no misses."""
    from_cache = sum(numbers[key] for key in FROM_CACHE)
    return share(from_cache, from_cache + numbers["misses"])


def _row(name: str, numbers: Numbers) -> list[str]:
    memory = numbers["memory"]
    return [
        f"{sum(numbers[key] for key in ANSWERED):,}",
        hit_ratio(numbers),
        f"{memory['entries']:,}",
        f"{size(memory['bytes'])} of {size(memory['max_bytes'])}",
        f"{numbers['stale_hits']:,}",
        f"{numbers['collapsed']:,}",
        f"{numbers['misses']:,}",
        f"{numbers['bypasses']:,}",
        name,
    ]


def _show_store(command: BaseCommand, found: Mapping[str, Numbers]) -> None:
    style, out = command.style, command.stdout.write
    stores = {name: numbers["store"] for name, numbers in found.items()}
    titles = sorted({store["title"] for store in stores.values() if store is not None})
    if not titles:
        out("\n  No shared store: each process has pages of its own (WSGIPERF['CACHE']['STORE'] is not set).")
        return
    hits = sum(numbers["store_hits"] for numbers in found.values())
    out(f"\n  Shared store: {', '.join(map(printable, titles))}; {count(hits, 'page')} came from it")
    for name, store in stores.items():
        if store is None:
            out(style.WARNING(f"  {name} uses no shared store"))
        elif not store["is_reachable"]:
            since = "" if store["unconfirmed_s"] is None else f", for {span(store['unconfirmed_s'])}"
            out(style.ERROR(f"  {name} does not reach it{since}: its pages are its own until it is back"))


def _show_refusals(command: BaseCommand, found: Mapping[str, Numbers]) -> None:
    refusals: Counter[str] = Counter()
    for numbers in found.values():
        refusals.update(numbers["refusals"])
    if not refusals:
        return
    style, out = command.style, command.stdout.write
    rows = [[f"{number:,}", reason, meaning(reason).what] for reason, number in refusals.most_common()]
    out("")
    head = ("pages", "not kept", "because")
    out(table(head, rows, right=(0,), colour_head=style.MIGRATE_HEADING, widest=width(command.stdout)))


def _show_trouble(command: BaseCommand, found: Mapping[str, Numbers]) -> None:
    """What should not happen often, where it has happened."""
    for key, text in _TROUBLE.items():
        number = sum(numbers.get(key, 0) for numbers in found.values())
        if number:
            command.stdout.write(command.style.WARNING(f"  {number:,} {text}"))


_TROUBLE: Final = {
    "errors_covered": "failures of the application were covered by a stale page",
    "refresh_failures": "stale pages could not be made anew in the background",
    "refreshes_dropped": "stale pages were not made anew, as REFRESH_QUEUE was full",
}


def _show_largest(command: BaseCommand, asked: Asked, largest: int, columns: int | None) -> None:
    pages: dict[str, dict[str, Any]] = {}
    for reply in asked.replies.values():
        for page in reply.get("largest", ()):
            known = pages.get(page["key"])
            if known is None:
                pages[page["key"]] = dict(page)
            else:
                known["hits"] += page["hits"]
                known["bytes"] = max(known["bytes"], page["bytes"])
                known["ttl_s"] = max(known["ttl_s"], page["ttl_s"])
                known["codings"] = {**known["codings"], **page["codings"]}
    chosen = sorted(pages.values(), key=lambda page: page["bytes"], reverse=True)[: max(0, largest)]
    if not chosen:
        return
    rows = [
        [
            size(page["bytes"]),
            f"{page['hits']:,}",
            span(round(page["ttl_s"])),
            str(page["status"]),
            " ".join(page["codings"]) or "-",
            printable(" ".join(filter(None, (page["route"] or "(no route)", *page["tags"])))),
        ]
        for page in chosen
    ]
    head = ("largest", "hits", "fresh for", "status", "encoded", "route and tags")
    command.stdout.write("")
    command.stdout.write(table(head, rows, right=(0, 1, 2), colour_head=command.style.MIGRATE_HEADING, widest=columns))
