"""What `serve` has set itself to reach, judged from a run. Ratios are taken within rounds; their median counts."""

from __future__ import annotations

from tests.benchmarks.common.results import Run
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.serving.scenarios import CELLS
from tests.benchmarks.serving.servers import GRANIAN, GTHREAD, LIMIT, OURS, SERVERS, UWSGI, WAITRESS

KIB = 1024
SMALL_RATES = {LIMIT: 0.85, GTHREAD: 3.5, WAITRESS: 2.3, UWSGI: 1.3, GRANIAN: 1.0}
BESIDE_BEST_PEER = 0.5
BESIDE_GRANIAN = 0.05
IDLE_KIB = 6.0
IDLE_SHARE = 0.9
GOODPUT_SHARE = 0.9


def against_best(run: Run, table: str, key: str, *, low: bool) -> tuple[str, float | None]:
    """Find the peer that is best at `key` (the lowest or the highest), and give our ratio to it."""
    medians = {
        peer: value
        for peer in run.subjects(table)
        if peer not in (OURS, LIMIT) and (value := run.middle(table, peer, key)) is not None
    }
    if not medians:
        return "the best peer", None
    best = (min if low else max)(medians, key=medians.__getitem__)
    return f"the best peer ({SERVERS[best].title})", run.ratio(table, OURS, best, key)


def judge(run: Run, scenario: str) -> list[Verdict]:
    """Give the verdicts on one table."""
    return JUDGES[CELLS[scenario].scenario.name](run, scenario)


def label(table: str) -> str:
    cell = CELLS[table]
    return f"{cell.scenario.name}, {cell.workers} worker{'s' if cell.workers > 1 else ''}"


def judge_small(run: Run, table: str) -> list[Verdict]:
    name = label(table)
    return [
        Verdict(
            scenario=name, what=f"requests/s to {SERVERS[other].title}", at_least=wanted,
            measured=run.ratio(table, OURS, other, "rate"),
        )
        for other, wanted in SMALL_RATES.items()
        if CELLS[table].workers <= SERVERS[other].max_workers
    ]  # fmt: skip


def judge_mixed(run: Run, table: str) -> list[Verdict]:
    name, verdicts = label(table), []
    for key, how in (("p99_ms", "closed loop"), ("open_p99_ms", "open loop")):
        best, beside_best = against_best(run, table, key, low=True)
        verdicts.append(
            Verdict(scenario=name, what=f"p99 to {best}, {how}", at_most=BESIDE_BEST_PEER, measured=beside_best)
        )
        beside_granian = run.ratio(table, OURS, GRANIAN, key)
        verdicts.append(
            Verdict(scenario=name, what=f"p99 to granian, {how}", at_most=BESIDE_GRANIAN, measured=beside_granian)
        )
    return verdicts


def judge_database(run: Run, table: str) -> list[Verdict]:
    name = label(table)
    best_rate, rate = against_best(run, table, "rate", low=False)
    best_p50, p50 = against_best(run, table, "p50_ms", low=True)
    best_p99, p99 = against_best(run, table, "p99_ms", low=True)
    return [
        Verdict(scenario=name, what=f"requests/s to {best_rate}", at_least=1.0, measured=rate),
        Verdict(scenario=name, what=f"p50 to {best_p50}", at_most=1.0, measured=p50),
        Verdict(scenario=name, what=f"p99 to {best_p99}", at_most=1.0, measured=p99),
    ]


def judge_idle(run: Run, table: str) -> list[Verdict]:
    name = label(table)
    each, kept, asked = (run.middle(table, OURS, key) for key in ("bytes_each", "kept", "asked"))
    return [
        Verdict(
            scenario=name, what="share of the idle connections kept", at_least=1.0,
            measured=None if kept is None or not asked else kept / asked,
        ),
        Verdict(scenario=name, what="KiB of memory for each", at_most=IDLE_KIB, measured=each and each / KIB),
        Verdict(
            scenario=name, what="share of the rate that stays", at_least=IDLE_SHARE,
            measured=run.middle(table, OURS, "share"),
        ),
    ]  # fmt: skip


def judge_overload(run: Run, table: str) -> list[Verdict]:
    return [
        Verdict(
            scenario=label(table), what="goodput as a share of the capacity", at_least=GOODPUT_SHARE,
            measured=run.middle(table, OURS, "share"),
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
