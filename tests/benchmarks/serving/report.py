"""The tables of the servers' benchmark. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.common.report import Column, Row, Table, lines, middle, ranged, share_of, to_it, total
from tests.benchmarks.common.results import Run
from tests.benchmarks.serving.scenarios import CELLS
from tests.benchmarks.serving.servers import LIMIT, OURS, SERVERS

#: More than this used by others makes a measurement doubtful on a small machine.
DISTURBED_CORES = 0.2

FAILED: Column = ("failed", total("failed"))
THROUGHPUT = (
    ("requests/s", ranged("rate")),
    ("to the limit", share_of(LIMIT, "rate")),
    ("serve to it", to_it(OURS, "rate")),
    ("p50 ms", ranged("p50_ms")),
    ("p99 ms", ranged("p99_ms")),
    ("CPU us a request", middle("cpu_us")),
    FAILED,
)
OVERLOAD = (
    ("capacity/s", middle("capacity")),
    ("offered/s", middle("offered")),
    ("goodput/s", middle("goodput")),
    ("goodput % of capacity", ranged("share", 100)),
    ("503 %", middle("shed", 100)),
    ("timed out %", middle("timed_out", 100)),
    ("broken %", middle("broken", 100)),
    ("p99 ms", middle("p99_ms")),
)
COLUMNS: dict[str, Sequence[Column]] = {
    "small": THROUGHPUT,
    "database": THROUGHPUT,
    "mixed": (
        ("p99 ms, closed", ranged("p99_ms")),
        ("p50 ms, closed", middle("p50_ms")),
        ("requests/s, closed", middle("rate")),
        ("p99 ms, open", ranged("open_p99_ms")),
        ("p50 ms, open", middle("open_p50_ms")),
        ("serve's p99 to it, closed", to_it(OURS, "p99_ms")),
        ("blocked/s", middle("blocked_rate")),
        FAILED,
    ),
    "idle": (
        ("connections kept", middle("kept")),
        ("KiB each", ranged("bytes_each", 1 / 1024)),
        ("requests/s without", middle("rate_without")),
        ("requests/s with", middle("rate")),
        ("% that stays", ranged("share", 100)),
        ("p99 ms with", middle("p99_ms")),
        FAILED,
    ),
    "overload": OVERLOAD,
    "overload-cpu": OVERLOAD,
}


def table(run: Run, scenario: str) -> Table:
    """The head and the rows of one cell."""
    names = run.subjects(scenario)
    rows = [(SERVERS[server].title, Row(run, scenario, server)) for server in SERVERS if server in names]
    return lines(COLUMNS[CELLS[scenario].scenario.name], rows, "server")


def disturbance(run: Run, name: str) -> list[str]:
    """Say how many measurements were taken while others used the machine. PostgreSQL is one of its own guests."""
    if CELLS[name].scenario.name == "database":
        return []
    counted = [item for item in run.measurements if item.scenario == name and "others" in item.values]
    disturbed = sum(item.values["others"] > DISTURBED_CORES for item in counted)
    if not disturbed:
        return []
    return [f"In {disturbed} of {len(counted)} measurements other programs used over {DISTURBED_CORES} cores."]
