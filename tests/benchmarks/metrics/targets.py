"""What measuring has set itself to cost at most, judged from a run. Differences are taken within rounds."""

from __future__ import annotations

from tests.benchmarks.common.results import Run
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.metrics.scenarios import AGGREGATION, OVERVIEW, RATE, REQUESTS
from tests.benchmarks.metrics.setups import BASE, OURS, PEERS, SETUPS

REQUEST_US, QUERY_US = 10.0, 1.0
SHARE, MEGABYTES = 0.01, 20.0
OVERVIEW_MS = 150.0


def more(run: Run, setup: str, key: str) -> float | None:
    """How much more than without any, the median over rounds."""
    return run.more(REQUESTS, setup, BASE, key)


def share_of(run: Run, peer: str) -> float | None:
    """What ours adds to a request, as a share of what a peer does."""
    ours, theirs = more(run, OURS, "request_us"), more(run, peer, "request_us")
    return ours / theirs if ours is not None and theirs else None


def judge(run: Run, scenario: str) -> list[Verdict]:
    """The verdicts on one scenario."""
    verdicts: list[Verdict] = []
    if scenario == REQUESTS:
        added = (more(run, OURS, key) for key in ("request_us", "query_us"))
        verdicts += [
            Verdict(scenario=REQUESTS, what=what, at_most=most, measured=value)
            for what, most, value in zip(
                ("us added to a request", "us added to a query"), (REQUEST_US, QUERY_US), added, strict=True
            )
        ]
        verdicts += [
            Verdict(
                scenario=REQUESTS,
                what=f"added to a request, to {SETUPS[peer].title}",
                at_most=1.0,
                measured=share_of(run, peer),
            )
            for peer in PEERS
            if peer in run.subjects(REQUESTS)
        ]
    if scenario == AGGREGATION:
        verdicts += [
            Verdict(
                scenario=AGGREGATION,
                what=f"share of a core at {RATE:,} requests/s",
                at_most=SHARE,
                measured=run.middle(AGGREGATION, "ours", "share"),
            ),
            Verdict(
                scenario=AGGREGATION,
                what="MB that the process grows",
                at_most=MEGABYTES,
                measured=run.middle(AGGREGATION, "ours", "megabytes"),
            ),
        ]
    if scenario == OVERVIEW:
        verdicts += [
            Verdict(
                scenario=OVERVIEW,
                what=f"ms on {subject}, nothing remembered",
                at_most=OVERVIEW_MS,
                measured=run.middle(OVERVIEW, subject, "first_ms"),
            )
            for subject in run.subjects(OVERVIEW)
        ]
    return verdicts
