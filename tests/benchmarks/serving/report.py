"""A run as tables, for the terminal and for docs/benchmarks.md. Computes medians and ratios; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.common import machine, verdicts
from tests.benchmarks.common.stats import Spread, paired_ratios
from tests.benchmarks.common.tables import markdown_table, number, spread, text_table
from tests.benchmarks.serving.results import Run
from tests.benchmarks.serving.scenarios import SCENARIOS
from tests.benchmarks.serving.servers import LIMIT, OURS, SERVERS
from tests.benchmarks.serving.targets import judge

NOTHING = "-"
#: More than this used by others makes a measurement doubtful on a small machine.
DISTURBED_CORES = 0.2


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a number comes from: one server in one scenario with one count of workers."""

    run: Run
    scenario: str
    workers: int
    server: str

    def of(self, key: str, server: str = "") -> dict[int, float]:
        return self.run.values(self.scenario, self.workers, server or self.server, key)


@dataclass(frozen=True, slots=True)
class Column:
    head: str
    text: Callable[[Cell], str]


def ranged(key: str, scale: float = 1.0) -> Callable[[Cell], str]:
    """Show a median with its range over the rounds."""

    def text(cell: Cell) -> str:
        values = [value * scale for value in cell.of(key).values()]
        return spread(Spread.of(values)) if values else NOTHING

    return text


def middle(key: str, scale: float = 1.0) -> Callable[[Cell], str]:
    """Show a median."""

    def text(cell: Cell) -> str:
        values = cell.of(key).values()
        return number(statistics.median(values) * scale) if values else NOTHING

    return text


def total(key: str) -> Callable[[Cell], str]:
    return lambda cell: f"{sum(cell.of(key).values()):,.0f}"


def to_limit(cell: Cell) -> str:
    """Show this server's rate as a share of the limit's."""
    ratios = paired_ratios(cell.of("rate"), cell.of("rate", LIMIT))
    return number(statistics.median(ratios)) if ratios else NOTHING


def ours_to_it(key: str) -> Callable[[Cell], str]:
    """Show our number divided by this server's."""

    def text(cell: Cell) -> str:
        ratios = paired_ratios(cell.of(key, OURS), cell.of(key))
        return number(statistics.median(ratios)) if ratios and cell.server != OURS else NOTHING

    return text


FAILED = Column("failed", total("failed"))
THROUGHPUT = (
    Column("requests/s", ranged("rate")),
    Column("to the limit", to_limit),
    Column("serve to it", ours_to_it("rate")),
    Column("p50 ms", ranged("p50_ms")),
    Column("p99 ms", ranged("p99_ms")),
    Column("CPU us a request", middle("cpu_us")),
    FAILED,
)
OVERLOAD = (
    Column("capacity/s", middle("capacity")),
    Column("offered/s", middle("offered")),
    Column("goodput/s", middle("goodput")),
    Column("goodput % of capacity", ranged("share", 100)),
    Column("503 %", middle("shed", 100)),
    Column("timed out %", middle("timed_out", 100)),
    Column("broken %", middle("broken", 100)),
    Column("p99 ms", middle("p99_ms")),
)
COLUMNS: dict[str, Sequence[Column]] = {
    "small": THROUGHPUT,
    "database": THROUGHPUT,
    "mixed": (
        Column("p99 ms, closed", ranged("p99_ms")),
        Column("p50 ms, closed", middle("p50_ms")),
        Column("requests/s, closed", middle("rate")),
        Column("p99 ms, open", ranged("open_p99_ms")),
        Column("p50 ms, open", middle("open_p50_ms")),
        Column("serve's p99 to it, closed", ours_to_it("p99_ms")),
        Column("blocked/s", middle("blocked_rate")),
        FAILED,
    ),
    "idle": (
        Column("connections kept", middle("kept")),
        Column("KiB each", ranged("bytes_each", 1 / 1024)),
        Column("requests/s without", middle("rate_without")),
        Column("requests/s with", middle("rate")),
        Column("% that stays", ranged("share", 100)),
        Column("p99 ms with", middle("p99_ms")),
        FAILED,
    ),
    "overload": OVERLOAD,
    "overload-cpu": OVERLOAD,
}


def table(run: Run, scenario: str, workers: int) -> tuple[list[str], list[list[str]]]:
    """Give the head and the rows of one cell's table."""
    columns = COLUMNS[scenario]
    rows = [
        [SERVERS[name].title, *(column.text(Cell(run, scenario, workers, name)) for column in columns)]
        for name in run.servers(scenario, workers)
    ]
    return ["server", *(column.head for column in columns)], rows


def title(scenario: str, workers: int) -> str:
    return f"{SCENARIOS[scenario].title}, {workers} worker process{'es' if workers > 1 else ''}"


def terminal(run: Run) -> str:
    """Give the whole report as plain text."""
    parts = [*facts(run)]
    for scenario, workers in run.cells():
        parts.append(f"\n{title(scenario, workers)}\n{text_table(*table(run, scenario, workers))}")
    judged = judge(run)
    if judged:
        parts.append("\n" + text_table(verdicts.HEAD, [verdict.row() for verdict in judged]))
        parts.append(verdicts.tally(judged))
    parts += [f"note: {note}" for note in [*run.notes, *disturbance(run)]]
    parts += [f"FAILED: {failure}" for failure in run.failures]
    return "\n".join(parts)


def markdown(run: Run) -> str:
    """Give the whole report as the generated part of docs/benchmarks.md."""
    parts = ["\n".join(f"- {fact}" for fact in facts(run))]
    judged = judge(run)
    parts.append(
        f"### Targets\n\n{verdicts.tally(judged)}.\n\n"
        + markdown_table(verdicts.HEAD, [verdict.row() for verdict in judged])
    )
    for scenario, workers in run.cells():
        parts.append(f"### {title(scenario, workers)}\n\n{markdown_table(*table(run, scenario, workers))}")
    remarks = [*run.notes, *disturbance(run), *(f"Failed: {failure}" for failure in run.failures)]
    if remarks:
        parts.append("### Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts)


def disturbance(run: Run) -> list[str]:
    """Say how many measurements were taken while others used the machine. PostgreSQL is one of its own guests."""
    counted = [item for item in run.measurements if item.scenario != "database" and "others" in item.values]
    disturbed = sum(item.values["others"] > DISTURBED_CORES for item in counted)
    if not disturbed:
        return []
    return [f"In {disturbed} of {len(counted)} measurements other programs used over {DISTURBED_CORES} cores."]


def facts(run: Run) -> list[str]:
    """Give the lines that say when, on what, with what and how it was measured."""
    about = run.about
    pages = ", ".join(
        f"`{page['path']}` {number(page['wall_us'])} us ({number(page['cpu_us'])} us of it processor)"
        for page in about["pages"]
    )
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"Measured {about['date']} on {machine.line(about['machine'])}; {about['pinning']}.",
        f"Versions: {versions}.",
        f"Database: {about['database']}.",
        f"In-process, without any server: {pages}.",
        f"{about['rounds']} round{'s' if about['rounds'] > 1 else ''}, interleaved, {about['seconds']:g} s each.",
        f"Command: `{about['command']}`",
    ]
