"""All about one address, as text: whether it is kept and where, for how long, in which variants, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_wsgiperf.cache.policy.meanings import meaning

from ._cache_making import Made
from ._terminal import count, printable, size, span, table, width

Explained = Mapping[str, Any]


def show(
    command: BaseCommand,
    url: str,
    own: Explained,
    processes: Mapping[str, Explained],
    failures: Mapping[str, str],
    made: Made | None,
) -> None:
    """Print it. `own` is what this process knows, which has no memory but may reach the shared store."""
    style, out = command.style, command.stdout.write
    for name, why in failures.items():
        command.stderr.write(style.ERROR(f"{name}: {printable(why)}"))
    out(style.MIGRATE_HEADING(printable(url)))
    keeping = {name: found for name, found in processes.items() if found["stored"]}
    best = max(keeping.values(), key=lambda found: int(found["entry"]["hits"]), default=own)
    if not best["stored"]:
        # Who keeps it for other requests has the most to tell.
        best = max([own, *processes.values()], key=lambda found: len(found.get("variants", ())))
    if best["stored"]:
        where = f"{len(keeping)} of {count(len(processes), 'process', 'processes')} on this host"
        out(f"  {style.SUCCESS('kept')}: in the memory of {where}" if keeping else f"  {style.SUCCESS('kept')}: shared")
        _facts(command, best)
    else:
        asked = count(len(processes), "process", "processes")
        out(f"  {style.WARNING('not kept')} by any of {asked} on this host" if processes else "  not kept, as far as "
            "can be seen: no process of this project answers on this host")  # fmt: skip
        for line in _why_not(best, processes, made):
            out(f"  {line}")
    _variants(command, best)
    if len(keeping) > 1:
        _each(command, keeping)
    if made is not None:
        _made(command, made)


def _facts(command: BaseCommand, found: Explained) -> None:
    entry, freshness = found["entry"], found["freshness"]
    facts = [
        ("would be", found["would"]),
        ("because", _because(freshness)),
        ("age", span(round(entry["age_s"]))),
        ("fresh for", span(round(entry["ttl_s"]))),
        ("then", _windows(entry)),
        ("answer", f"{entry['status']}, {size(entry['body_bytes'])}"),
        ("encoded", ", ".join(f"{coding} {size(number)}" for coding, number in entry["codings"].items())),
        ("made in", span(entry["render_ms"] / 1000) if entry["render_ms"] >= 100 else f"{entry['render_ms']:.1f} ms"),
        ("hits", f"{entry['hits']:,}"),
        ("route", entry["route"]),
        ("tags", " ".join(entry["tags"])),
        ("varies by", ", ".join(_nominated(entry["vary"]))),
    ]
    for name, text in facts:
        if text:
            command.stdout.write(f"  {name:<10} {printable(text)}")


def _because(freshness: Mapping[str, str]) -> str:
    if freshness["purged"] != "valid":
        return "it was purged" + (" softly" if freshness["purged"] == "stale" else "")
    return "" if freshness["reason"] == "ok" else meaning(freshness["reason"]).what


def _windows(entry: Mapping[str, Any]) -> str:
    """What comes after the lifetime."""
    named = (
        ("swr_s", "stale while a new one is made"),
        ("sie_s", "stale if the page fails"),
        ("keep_s", "to ask about"),
    )
    return ", ".join(f"{span(entry[key])} {text}" for key, text in named if entry[key])


def _nominated(vary: Mapping[str, str | None]) -> Iterator[str]:
    for name, value in vary.items():
        yield f"{name}: {value}" if value else f"{name} (none)" if value is None else f"{name} (empty)"


def _why_not(found: Explained, processes: Mapping[str, Explained], made: Made | None) -> Iterator[str]:
    """All that is known against it, or that nothing is."""
    known = False
    if not found["host_allowed"]:
        known = True
        yield _sentence("host")
    if found["excluded"]:
        known = True
        yield _sentence("excluded")
    if found["request"]["reason"] != "ok":
        known = True
        yield _sentence(found["request"]["reason"])
    # A process of an older version does not tell it.
    for reason in sorted({reason for each in processes.values() if (reason := each.get("last_refusal"))}):
        known = True
        yield f"the last answer was not kept: {_sentence(reason)}"
    if any(each["last_answer_could_not_be_shared"] for each in processes.values()):
        known = True
        yield "the last answer could not be kept; for a while nobody waits for such a page" + ("" if made else TRY)
    if found.get("variants"):
        known = True
        yield "kept for other requests only, which differ in what it varies by:"
    if not known and made is None:
        yield "nobody has asked for it yet, or its answer was not kept" + TRY


TRY = "; --make makes it here, and tells why"


def _sentence(reason: str) -> str:
    what, do = meaning(reason)
    text = f"{reason}: {what}" if what else reason
    return f"{text}; {do}" if do else text


def _variants(command: BaseCommand, found: Explained) -> None:
    rows = [
        [f"{each['hits']:,}", span(round(each["ttl_s"])), size(each["body_bytes"]), ", ".join(_nominated(each["vary"]))]
        for each in found.get("variants", ())
    ]
    if rows:
        head = ("hits", "fresh for", "size", "variant")
        command.stdout.write("")
        command.stdout.write(_table(command, head, [[*row[:-1], printable(row[-1])] for row in rows]))


def _each(command: BaseCommand, keeping: Mapping[str, Explained]) -> None:
    rows = [
        [f"{found['entry']['hits']:,}", span(round(found["entry"]["ttl_s"])), found["freshness"]["verdict"], name]
        for name, found in keeping.items()
    ]
    command.stdout.write("")
    command.stdout.write(_table(command, ("hits", "fresh for", "is", "process"), rows))


def _table(command: BaseCommand, head: tuple[str, ...], rows: list[list[str]]) -> str:
    heading = command.style.MIGRATE_HEADING
    return table(head, rows, right=(0, 1, 2), colour_head=heading, widest=width(command.stdout))


def _made(command: BaseCommand, made: Made) -> None:
    style, out = command.style, command.stdout.write
    out("")
    out(style.MIGRATE_HEADING("Made here"))
    out(f"  answer     {made.status}, {size(made.body_bytes)}, in {made.took_s * 1000:.1f} ms")
    for name, value in made.said.items():
        out(f"  {printable(f'{name}: {value}')}")
    if made.kept and made.lifetime_s is not None:
        out(f"  {style.SUCCESS('would be kept')}, fresh for {span(made.lifetime_s)}")
    else:
        out(f"  {style.WARNING('would not be kept')}: {printable(_sentence(made.reason))}")
