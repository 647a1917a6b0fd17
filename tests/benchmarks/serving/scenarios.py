"""What is measured: each scenario puts one load on one running server, and gives numbers.

Rates are requests a second, times are ms, memory is bytes. Nothing is judged or compared here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.common import openloop, turns, wrk
from tests.benchmarks.common.places import ROOT, THREADS
from tests.benchmarks.common.processes import busy_s, own_s
from tests.benchmarks.serving.idle import held
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.session import Session

Values = dict[str, float]
CLIENT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort(turns.Effort):
    """How much load, and for how long. The smoke run uses SMOKE."""

    warm_s: float = 1.0
    clients: int = 32
    fast_clients: int = 16
    blocking_clients: int = 8
    open_rate: float = 500.0
    idle: int = 10_000
    idle_settle_s: float = 1.0
    overload_s: float = 6.0
    overload_settle_s: float = 2.0


SMOKE = Effort(
    rounds=1, seconds=0.3, warm_s=0.1, clients=8, fast_clients=4, blocking_clients=4, open_rate=100.0,
    idle=200, idle_settle_s=0.1, overload_s=0.4, overload_settle_s=0.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of load. `overlaps`: it needs a server that runs several views at once; `smoke`: it
    is part of the smoke run."""

    name: str
    title: str
    paths: tuple[str, ...]
    measure: Callable[[Session, Effort], Values]
    workers: tuple[int, ...] = (1, 2)
    overlaps: bool = False
    idle: bool = False
    smoke: bool = True

    def unfit(self, server: Server, workers: int) -> str:
        """Say why `server` cannot take part; empty when it can."""
        if workers > server.max_workers:
            return f"{server.title} runs in one process only"
        if self.overlaps and not server.overlaps:
            return f"{server.title} runs one view at a time"
        if self.idle and not server.keeps_idle:
            return f"{server.title} keeps no idle connections"
        return ""


def throughput(path: str) -> Callable[[Session, Effort], Values]:
    """Closed-loop load of one page from keep-alive connections."""

    def measure(session: Session, effort: Effort) -> Values:
        wrk.run(session.url(path), connections=effort.clients, seconds=effort.warm_s)
        return closed_loop(session, path, effort.clients, effort.seconds)

    return measure


def closed_loop(session: Session, path: str, connections: int, seconds: float) -> Values:
    """Run wrk, and give its result with the server's processor time per request in us.

    `others` is how many cores were busy with what is neither the server nor the load: a measure of disturbance.
    """
    server_s, machine_s, load_s = session.program.cpu_s(), busy_s(), own_s()
    load = wrk.run(session.url(path), connections=connections, seconds=seconds)
    server_s = session.program.cpu_s() - server_s
    others_s = busy_s() - machine_s - server_s - (own_s() - load_s)
    return {
        "rate": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "max_ms": load.max_ms,
        "cpu_us": server_s / max(1, load.requests) * 1e6,
        "others": max(0.0, others_s / load.duration_s) if load.duration_s else 0.0,
        "failed": load.failed,
    }


def mixed(session: Session, effort: Effort) -> Values:
    """The small page while other connections hold threads for 50 ms: closed loop, then open loop."""
    wrk.run(session.url("/small"), connections=effort.fast_clients, seconds=effort.warm_s)
    blockers = wrk.Wrk(session.url("/block"), connections=effort.blocking_clients, seconds=4 * effort.seconds + 10.0)
    try:
        time.sleep(min(0.3, effort.seconds))
        values = closed_loop(session, "/small", effort.fast_clients, effort.seconds)
        waited = openloop.run(
            session.launch.port, "/small", rate=effort.open_rate, seconds=effort.seconds,
            timeout_s=CLIENT_TIMEOUT_S, seed=effort.seed,
        )  # fmt: skip
        blocked = blockers.result_now()
    finally:
        blockers.stop()
    return {
        **values,
        "open_p50_ms": waited.latency_ms(50),
        "open_p99_ms": waited.latency_ms(99),
        "lag_p99_ms": waited.lag_p99_ms(),
        "blocked_rate": blocked.rate,
        "failed": values["failed"] + blocked.failed + waited.due - waited.good,
    }


def idle(session: Session, effort: Effort) -> Values:
    """Memory of idle connections, and the small page's rate without and with them."""
    wrk.run(session.url("/small"), connections=effort.clients, seconds=effort.warm_s)
    before = closed_loop(session, "/small", effort.clients, effort.seconds)
    before_bytes = session.program.memory_bytes()
    with held(session.launch.port, "/small", effort.idle, ROOT) as others:
        time.sleep(effort.idle_settle_s)
        after_bytes = session.program.memory_bytes()
        during = closed_loop(session, "/small", effort.clients, effort.seconds)
        kept = others.still_open()
    return {
        "asked": effort.idle,
        "kept": kept,
        "bytes_each": (after_bytes - before_bytes) / max(1, others.opened),
        "rate_without": before["rate"],
        "rate": during["rate"],
        "share": during["rate"] / before["rate"] if before["rate"] else 0.0,
        "p99_ms": during["p99_ms"],
        "failed": before["failed"] + during["failed"],
    }


def overload(path: str) -> Callable[[Session, Effort], Values]:
    """Twice the capacity in an open loop, from clients that give up after a second."""

    def measure(session: Session, effort: Effort) -> Values:
        clients = 2 * THREADS * session.launch.workers
        wrk.run(session.url(path), connections=clients, seconds=effort.warm_s)
        capacity = closed_loop(session, path, clients, effort.seconds)
        tally = openloop.run(
            session.launch.port, path, rate=max(2 * capacity["rate"], 10.0), seconds=effort.overload_s,
            settle_s=effort.overload_settle_s, timeout_s=CLIENT_TIMEOUT_S, seed=effort.seed,
        )  # fmt: skip
        due = max(1, tally.due)
        return {
            "capacity": capacity["rate"],
            "offered": tally.due / tally.window_s,
            "goodput": tally.goodput,
            "share": tally.goodput / capacity["rate"] if capacity["rate"] else 0.0,
            "shed": tally.shed / due,
            "timed_out": tally.timed_out / due,
            "broken": (tally.broken + tally.other_status) / due,
            "p99_ms": tally.latency_ms(99),
            "lag_p99_ms": tally.lag_p99_ms(),
            "failed": capacity["failed"],
        }

    return measure


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="small", title="A 1 KB view", paths=("/small",), measure=throughput("/small")),
        Scenario(
            name="mixed", title="The 1 KB view while others block 50 ms", paths=("/small", "/block"), measure=mixed,
            overlaps=True,
        ),
        Scenario(name="database", title="A database page", paths=("/books",), measure=throughput("/books")),
        Scenario(
            name="idle", title="Idle keep-alive connections", paths=("/small",), measure=idle, idle=True
        ),
        Scenario(
            name="overload", title="Twice the capacity of a view that sleeps 20 ms", paths=("/sleep",),
            measure=overload("/sleep"), overlaps=True,
        ),
        Scenario(
            name="overload-cpu", title="Twice the capacity of a view that computes 10 ms", paths=("/burn",),
            measure=overload("/burn"), overlaps=True, smoke=False,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One table: a scenario with so many worker processes."""

    scenario: Scenario
    workers: int

    @property
    def name(self) -> str:
        return f"{self.scenario.name}-{self.workers}"

    @property
    def title(self) -> str:
        return f"{self.scenario.title}, {self.workers} worker process{'es' if self.workers > 1 else ''}"


CELLS: Mapping[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell(scenario, workers)
        for workers in (1, 2)
        for scenario in SCENARIOS.values()
        if workers in scenario.workers
    )
}  # fmt: skip
