"""What the pool has set itself to reach, judged from a run. Ratios are taken within rounds; their median counts."""

from __future__ import annotations

from tests.benchmarks.common.results import Run, median
from tests.benchmarks.common.stats import paired_differences, paired_ratios
from tests.benchmarks.common.verdicts import Verdict
from tests.benchmarks.database.launching import SERVERS
from tests.benchmarks.database.scenarios import HELD, INPROCESS, SIZES
from tests.benchmarks.database.setups import KEEP, OURS, PEERS, SETUPS

FEW = min(SIZES)
EXCHANGE_US = 20.0
BESIDE_PERSISTENT = 0.95


def over_persistent(run: Run, setup: str, key: str) -> float | None:
    """How much more than a persistent connection, the median over rounds."""
    size = FEW if SETUPS[setup].is_pool else 0
    return median(
        paired_differences(run.values(INPROCESS, setup, key, size), run.values(INPROCESS, KEEP, key))
    )  # fmt: skip


def ratio(run: Run, scenario: str, other: str, other_size: int) -> float | None:
    """Our rate with few connections, divided by another's."""
    return median(
        paired_ratios(run.values(scenario, OURS, "rate", FEW), run.values(scenario, other, "rate", other_size))
    )  # fmt: skip


def judge(run: Run, scenario: str) -> list[Verdict]:
    """The verdicts on one scenario."""
    verdicts = []
    if scenario == INPROCESS:
        verdicts.append(
            Verdict(
                scenario="in-process", what="us to take and give back, over CONN_MAX_AGE=None", at_most=EXCHANGE_US,
                measured=over_persistent(run, OURS, "exchange_us"),
            )
        )  # fmt: skip
    if scenario == "five":
        verdicts.append(
            Verdict(
                scenario="five queries", what=f"requests/s with {FEW} connections to CONN_MAX_AGE=None with 12",
                at_least=BESIDE_PERSISTENT, measured=ratio(run, "five", KEEP, 0),
            )
        )  # fmt: skip
        present = {setup for setup, _ in run.rows("five")}
        verdicts += [
            Verdict(
                scenario="five queries", what=f"requests/s with {FEW} connections to {SETUPS[peer].title} with {FEW}",
                at_least=1.0, measured=ratio(run, "five", peer, FEW),
            )
            for peer in PEERS
            if peer in present
        ]  # fmt: skip
    if scenario.startswith(HELD):
        sizes = [size for setup, size in run.rows(scenario) if setup == OURS]
        verdicts.append(
            Verdict(
                scenario=f"slow readers under {SERVERS[scenario.removeprefix(f'{HELD}-')][0]}",
                what="connections held while they read", at_most=0.0,
                measured=median(run.values(scenario, OURS, "held", max(sizes, default=0)).values()),
            )
        )  # fmt: skip
    return verdicts
