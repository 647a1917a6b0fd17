"""What the response cache has set itself to reach, judged from a run. Ratios are of one round; their median counts."""

from __future__ import annotations

import statistics

from tests.benchmarks.cache import inprocess, purging
from tests.benchmarks.cache.results import Run
from tests.benchmarks.cache.scenarios import CROWD, HITS, INPROCESS, PURGE
from tests.benchmarks.cache.setups import LOCMEM, NGINX, REDIS, SERVE, SETUPS, SHARED
from tests.benchmarks.common.stats import paired_ratios
from tests.benchmarks.common.verdicts import Verdict

RATES = ((SERVE, NGINX, 0.6), (SERVE, LOCMEM, 15.0), (SERVE, REDIS, 40.0), (SHARED, REDIS, 3.0))
MIDDLEWARE_US = 90.0
MISS_US = 30.0
CROWD_MS = 250.0
PURGE_MS = 5.0


def ratio(run: Run, upper: str, lower: str) -> float | None:
    """The median over rounds of one rate divided by another; None when they share no round."""
    ratios = paired_ratios(run.values(HITS, upper, "rate"), run.values(HITS, lower, "rate"))
    return statistics.median(ratios) if ratios else None


def middle(run: Run, scenario: str, subject: str, key: str) -> float | None:
    values = run.values(scenario, subject, key)
    return statistics.median(values.values()) if values else None


def more(run: Run, upper: str, lower: str) -> float | None:
    """The median over rounds of what one way costs more than another, in us."""
    one, other = (run.values(INPROCESS, way, "us") for way in (upper, lower))
    differences = [one[round_] - other[round_] for round_ in one if round_ in other]
    return statistics.median(differences) if differences else None


def judge(run: Run) -> list[Verdict]:
    """The verdicts on every scenario that was measured."""
    measured = run.scenarios()
    verdicts: list[Verdict] = []
    if HITS in measured:
        verdicts += [
            Verdict(
                scenario=HITS,
                what=f"{SETUPS[upper].title}, to {SETUPS[lower].title}",
                at_least=wanted,
                measured=ratio(run, upper, lower),
            )
            for upper, lower, wanted in RATES
        ]
    if CROWD in measured:
        renders, slowest = middle(run, CROWD, SERVE, "renders"), middle(run, CROWD, SERVE, "slowest_ms")
        verdicts += [
            Verdict(scenario=CROWD, what="times the page is made", at_most=1.0, measured=renders),
            Verdict(scenario=CROWD, what="ms until all are answered", at_most=CROWD_MS, measured=slowest),
        ]
    if INPROCESS in measured:
        hit = middle(run, INPROCESS, inprocess.MIDDLEWARE, "us")
        miss = more(run, inprocess.MISS, inprocess.MISS_PLAIN)
        verdicts += [
            Verdict(scenario=INPROCESS, what="us for a hit by the middleware", at_most=MIDDLEWARE_US, measured=hit),
            Verdict(scenario=INPROCESS, what="us that a miss costs more", at_most=MISS_US, measured=miss),
        ]
    if PURGE in measured:
        ms = middle(run, PURGE, purging.MEMORY, "ms")
        verdicts.append(Verdict(scenario=PURGE, what="ms for a million entries", at_most=PURGE_MS, measured=ms))
    return verdicts
