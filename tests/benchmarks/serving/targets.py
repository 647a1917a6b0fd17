"""What `serve` has set itself to reach, judged from a run. Ratios are taken within rounds; their median counts."""

from __future__ import annotations

import statistics

from tests.benchmarks.common.stats import paired_ratios
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.serving.results import Run
from tests.benchmarks.serving.servers import GRANIAN, GTHREAD, LIMIT, OURS, SERVERS, UWSGI, WAITRESS

KIB = 1024
SMALL_RATES = {LIMIT: 0.85, GTHREAD: 3.5, WAITRESS: 2.3, UWSGI: 1.3, GRANIAN: 1.0}
BESIDE_BEST_PEER = 0.5
BESIDE_GRANIAN = 0.05
IDLE_KIB = 6.0
IDLE_SHARE = 0.9
GOODPUT_SHARE = 0.9


def ratio(run: Run, scenario: str, workers: int, key: str, other: str) -> float | None:
    """Give the median over rounds of our value divided by `other`'s; None when they share no round."""
    ratios = paired_ratios(run.values(scenario, workers, OURS, key), run.values(scenario, workers, other, key))
    return statistics.median(ratios) if ratios else None


def against_best(run: Run, scenario: str, workers: int, key: str, *, low: bool) -> tuple[str, float | None]:
    """Find the peer that is best at `key` (the lowest or the highest), and give our ratio to it."""
    medians = {
        peer: statistics.median(values.values())
        for peer in run.peers(scenario, workers)
        if (values := run.values(scenario, workers, peer, key))
    }
    if not medians:
        return "the best peer", None
    best = (min if low else max)(medians, key=medians.__getitem__)
    return f"the best peer ({SERVERS[best].title})", ratio(run, scenario, workers, key, best)


def own(run: Run, scenario: str, workers: int, key: str, scale: float = 1.0) -> float | None:
    values = run.values(scenario, workers, OURS, key)
    return statistics.median(values.values()) * scale if values else None


def judge(run: Run) -> list[Verdict]:
    """Give the verdicts on every cell that was measured."""
    verdicts: list[Verdict] = []
    for scenario, workers in run.cells():
        verdicts += JUDGES[scenario](run, workers, scenario)
    return verdicts


def label(scenario: str, workers: int) -> str:
    return f"{scenario}, {workers} worker{'s' if workers > 1 else ''}"


def judge_small(run: Run, workers: int, scenario: str) -> list[Verdict]:
    name = label(scenario, workers)
    return [
        Verdict(
            scenario=name, what=f"requests/s to {SERVERS[other].title}", at_least=wanted,
            measured=ratio(run, scenario, workers, "rate", other),
        )
        for other, wanted in SMALL_RATES.items()
        if workers <= SERVERS[other].max_workers
    ]  # fmt: skip


def judge_mixed(run: Run, workers: int, scenario: str) -> list[Verdict]:
    name, verdicts = label(scenario, workers), []
    for key, how in (("p99_ms", "closed loop"), ("open_p99_ms", "open loop")):
        best, beside_best = against_best(run, scenario, workers, key, low=True)
        verdicts.append(
            Verdict(scenario=name, what=f"p99 to {best}, {how}", at_most=BESIDE_BEST_PEER, measured=beside_best)
        )
        beside_granian = ratio(run, scenario, workers, key, GRANIAN)
        verdicts.append(
            Verdict(scenario=name, what=f"p99 to granian, {how}", at_most=BESIDE_GRANIAN, measured=beside_granian)
        )
    return verdicts


def judge_database(run: Run, workers: int, scenario: str) -> list[Verdict]:
    name = label(scenario, workers)
    best_rate, rate = against_best(run, scenario, workers, "rate", low=False)
    best_p50, p50 = against_best(run, scenario, workers, "p50_ms", low=True)
    best_p99, p99 = against_best(run, scenario, workers, "p99_ms", low=True)
    return [
        Verdict(scenario=name, what=f"requests/s to {best_rate}", at_least=1.0, measured=rate),
        Verdict(scenario=name, what=f"p50 to {best_p50}", at_most=1.0, measured=p50),
        Verdict(scenario=name, what=f"p99 to {best_p99}", at_most=1.0, measured=p99),
    ]


def judge_idle(run: Run, workers: int, scenario: str) -> list[Verdict]:
    name = label(scenario, workers)
    each = own(run, scenario, workers, "bytes_each", 1 / KIB)
    kept, asked = own(run, scenario, workers, "kept"), own(run, scenario, workers, "asked")
    return [
        Verdict(
            scenario=name, what="share of the idle connections kept", at_least=1.0,
            measured=None if kept is None or not asked else kept / asked,
        ),
        Verdict(scenario=name, what="KiB of memory for each", at_most=IDLE_KIB, measured=each),
        Verdict(
            scenario=name, what="share of the rate that stays", at_least=IDLE_SHARE,
            measured=own(run, scenario, workers, "share"),
        ),
    ]  # fmt: skip


def judge_overload(run: Run, workers: int, scenario: str) -> list[Verdict]:
    return [
        Verdict(
            scenario=label(scenario, workers), what="goodput as a share of the capacity", at_least=GOODPUT_SHARE,
            measured=own(run, scenario, workers, "share"),
        )
    ]  # fmt: skip


JUDGES = {
    "small": judge_small,
    "mixed": judge_mixed,
    "database": judge_database,
    "idle": judge_idle,
    "overload": judge_overload,
    "overload-cpu": judge_overload,
}
