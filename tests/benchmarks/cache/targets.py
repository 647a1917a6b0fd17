"""What the response cache has set itself to reach, judged from a run. Ratios are of one round; their median counts."""

from __future__ import annotations

from tests.benchmarks.cache import inprocess, purging
from tests.benchmarks.cache.scenarios import CROWD, HITS, INPROCESS, PURGE
from tests.benchmarks.cache.setups import LOCMEM, NGINX, REDIS, SERVE, SETUPS, SHARED
from tests.benchmarks.common.results import Run
from tests.benchmarks.common.verdicts import Verdict

RATES = ((SERVE, NGINX, 0.6), (SERVE, LOCMEM, 15.0), (SERVE, REDIS, 40.0), (SHARED, REDIS, 3.0))
MIDDLEWARE_US = 90.0
MISS_US = 30.0
CROWD_MS = 250.0
PURGE_MS = 5.0


def judge(run: Run, scenario: str) -> list[Verdict]:
    """The verdicts on one scenario."""
    verdicts: list[Verdict] = []
    if scenario == HITS:
        verdicts += [
            Verdict(
                scenario=HITS,
                what=f"{SETUPS[upper].title}, to {SETUPS[lower].title}",
                at_least=wanted,
                measured=run.ratio(HITS, upper, lower, "rate"),
            )
            for upper, lower, wanted in RATES
        ]
    if scenario == CROWD:
        renders, slowest = run.middle(CROWD, SERVE, "renders"), run.middle(CROWD, SERVE, "slowest_ms")
        verdicts += [
            Verdict(scenario=CROWD, what="times the page is made", at_most=1.0, measured=renders),
            Verdict(scenario=CROWD, what="ms until all are answered", at_most=CROWD_MS, measured=slowest),
        ]
    if scenario == INPROCESS:
        hit = run.middle(INPROCESS, inprocess.MIDDLEWARE, "us")
        miss = run.more(INPROCESS, inprocess.MISS, inprocess.MISS_PLAIN, "us")
        verdicts += [
            Verdict(scenario=INPROCESS, what="us for a hit by the middleware", at_most=MIDDLEWARE_US, measured=hit),
            Verdict(scenario=INPROCESS, what="us that a miss costs more", at_most=MISS_US, measured=miss),
        ]
    if scenario == PURGE:
        ms = run.middle(PURGE, purging.MEMORY, "ms")
        verdicts.append(Verdict(scenario=PURGE, what="ms for a million entries", at_most=PURGE_MS, measured=ms))
    return verdicts
