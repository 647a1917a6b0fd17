"""Thirty days of a hundred routes, as a store has them: some minutes are counted from records, the rest are sums."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django_wsgiperf.metrics import payload, rollup, samples
from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.stores.base import LEVELS, Row
from django_wsgiperf.metrics.tally import Tally

from .making import MS, NOON, aggregator, record

ROUTES: Final = 100
KEPT_S: Final = {60: 26 * 3600, 600: 15 * 86400, 7200: 30 * 86400, 86400: 30 * 86400}
"""How far back each level goes, by the defaults and thirty days."""
HOST: Final = "web-1"


@dataclass(frozen=True)
class Kind:
    """What requests of a route are like."""

    name: str
    share: float
    median_ns: float
    queries: int
    statements: tuple[str, ...]


def kinds(chance: random.Random) -> list[Kind]:
    """Popular and rare routes (Zipf), fast and slow ones, with and without queries."""
    made = []
    for number in range(ROUTES):
        statements = tuple(
            f'SELECT "shop_{number}_{n}"."id", "shop_{number}_{n}"."title", "shop_{number}_{n}"."price", '
            f'"shop_{number}_{n}"."author_id" FROM "shop_{number}_{n}" INNER JOIN "shop_author" ON '
            f'("shop_{number}_{n}"."author_id" = "shop_author"."id") WHERE "shop_{number}_{n}"."id" = %s LIMIT ?'
            for n in range(5)
        )
        median_ns = chance.lognormvariate(3.0, 1.0) * MS
        made.append(Kind(f"/shop/{number}/<int:pk>/", 1 / (number + 1), median_ns, chance.randint(0, 20), statements))
    return made


def minute_of(chance: random.Random, found: list[Kind], requests: int) -> Tally:
    """One minute, counted as a process counts it."""
    sums = aggregator(host=HOST, boot=f"{chance.getrandbits(32):08x}", release="v1")
    chosen = chance.choices(found, [kind.share for kind in found], k=requests)
    sums.add((_record(chance, kind) for kind in chosen), NOON + 59)
    (minute,) = sums.minutes.values()
    minute.tally.samples = sums.samples(minute, 100)
    minute.tally.thread_ns, minute.tally.queue_peak = 12 * 60 * 10**9, chance.randint(0, 9)
    return minute.tally


def _record(chance: random.Random, kind: Kind) -> Record:
    ttfb_ns = int(kind.median_ns * chance.lognormvariate(0, 0.6))
    db_ns = int(ttfb_ns * chance.uniform(0.2, 0.6)) if kind.queries else 0
    made = record(
        kind.name,
        method="GET" if chance.random() < 0.9 else "POST",
        status=chance.choices([200, 302, 404, 500], [94, 3, 2, 1])[0],
        ttfb_ns=ttfb_ns,
        queue_ns=int(chance.expovariate(1 / (0.2 * MS))),
        cpu_ns=ttfb_ns // 3,
        body_bytes=chance.randint(200, 60_000),
        db_ns=db_ns,
        queries=kind.queries,
        cache_ns=ttfb_ns // 50,
        request_id=f"{chance.getrandbits(128):032x}",
    )
    step = ttfb_ns // (kind.queries + 1)
    made.spans[:0] = [
        ("db", n * step, db_ns // kind.queries, kind.statements[n % len(kind.statements)]) for n in range(kind.queries)
    ]
    return made


def merged(tallies: list[Tally], level: int) -> Tally:
    """Sum, with the slow requests that a roll-up would keep."""
    whole = Tally()
    for each in tallies:
        whole.merge(each, ROUTES + 1)
        whole.samples += each.samples
    for cell in whole.routes.values():
        cell.database = Histogram()
    whole.samples = samples.pick(whole.samples, 3, rollup.SAMPLES[level])
    return whole


def rows(now_s: int, *, seed: int = 1, requests: int = 6000, variants: int = 6) -> Iterator[Row]:
    """Everything that a store has of one host after thirty days, at `requests` a minute."""
    chance = random.Random(seed)
    found = kinds(chance)
    finer = [minute_of(chance, found, requests) for _ in range(variants)]
    for level, coarser in zip(LEVELS[1:], (*LEVELS[2:], 0), strict=True):
        for start in range((now_s - KEPT_S[level]) // level * level, now_s // level * level, level):
            yield _row(level, start, chance.choice(finer), coarser=coarser, now_s=now_s)
        if coarser:
            finer = [merged(chance.choices(finer, k=coarser // level), coarser) for _ in range(variants)]


def kinds_of_rows(now_s: int, *, seed: int = 1, requests: int = 6000) -> dict[int, list[Row]]:
    """Some rows of each level, as rows() has them: each with and without slow requests, by how many are."""
    chance = random.Random(seed)
    found = kinds(chance)
    finer = [minute_of(chance, found, requests) for _ in range(2)]
    made: dict[int, list[Row]] = {}
    for level, coarser in zip(LEVELS[1:], (*LEVELS[2:], 0), strict=True):
        starts = range((now_s - KEPT_S[level]) // level * level, now_s // level * level, level)
        # As many of the youngest, which have most, as of the others in the same proportion.
        chosen = starts[:: max(1, len(starts) // 15)]
        made[level] = [_row(level, start, chance.choice(finer), coarser=coarser, now_s=now_s) for start in chosen]
        if coarser:
            finer = [merged(chance.choices(finer, k=coarser // level), coarser) for _ in range(2)]
    return made


def _row(level: int, start: int, tally: Tally, *, coarser: int, now_s: int) -> Row:
    is_rolled = bool(coarser) and start // coarser * coarser + coarser <= now_s
    kept_s = {60: 0, 600: 26 * 3600, 7200: 15 * 86400}.get(level, 1 << 40)
    has_samples = start >= now_s - kept_s or not is_rolled
    moved = [
        {**sample, "id": f"{start // 60:x}-{sample['id'].split('-', 1)[1]}", "at": float(start)}
        for sample in (tally.samples if has_samples else ())
    ]
    return Row(
        level,
        start,
        HOST,
        HOST,
        rolled=is_rolled,
        closed=True,
        version=1,
        summary=payload.pack_summary(tally, tally.total()),
        detail=payload.pack_detail(tally),
        samples=payload.pack_samples(moved),
    )
