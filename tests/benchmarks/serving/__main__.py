"""`python -m tests.benchmarks.serving`: reads the options, prepares the database and pages, runs, reports."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.benchmarks.common import database, machine, tables
from tests.benchmarks.common.wrk import LoadError
from tests.benchmarks.serving import profile, report
from tests.benchmarks.serving.idle import SPARE_FILES, raise_file_limit
from tests.benchmarks.serving.results import Run
from tests.benchmarks.serving.runner import Plan, execute
from tests.benchmarks.serving.scenarios import SCENARIOS, SMOKE, Effort
from tests.benchmarks.serving.servers import OURS, PROJECT, ROOT, SERVERS, UWSGI_SOCKET, Server
from tests.benchmarks.serving.session import Page, Starter, environment

FOLDER = ROOT / ".run" / "benchmarks"
RESULTS = FOLDER / "serving.json"
SMOKE_RESULTS = FOLDER / "serving-smoke.json"
DOCS = ROOT / "docs" / "benchmarks.md"
PREPARE_S = 120.0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving", description=__doc__)
    choice = ", ".join
    parser.add_argument("--scenario", help=f"only these, with commas: {choice(SCENARIOS)}")
    parser.add_argument("--servers", help=f"only these, with commas, or all: {choice(SERVERS)}")
    parser.add_argument("--workers", default="1,2", help="worker processes, with commas (default 1,2)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement (default 4)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (default 10,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the order and of the open loop's arrivals")
    parser.add_argument("--pin", action="store_true", help="servers on core 0, load on core 1; 1 worker only")
    parser.add_argument("--smoke", action="store_true", help="everything once, briefly; fails if a server does")
    parser.add_argument("--profile", action="store_true", help="profile serve with py-spy instead of measuring")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--again", action="store_true", help="report the last run again, without measuring")
    parser.add_argument("--output", type=Path, default=None, help="where the results go as JSON")
    chosen = parser.parse_args(arguments)
    chosen.scenario = picked(parser, "--scenario", chosen.scenario, list(SCENARIOS), list(SCENARIOS))
    usual = [name for name in SERVERS if name != UWSGI_SOCKET]
    chosen.servers = picked(parser, "--servers", chosen.servers, list(SERVERS), usual)
    chosen.workers = [int(count) for count in picked(parser, "--workers", chosen.workers, ["1", "2"], [])]
    if chosen.smoke and chosen.write_docs:
        parser.error("--smoke measures too briefly for --write-docs")
    chosen.output = chosen.output or (SMOKE_RESULTS if chosen.smoke else RESULTS)
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds is at least 1, and --seconds above 0")
    if chosen.pin and chosen.workers != [1]:
        parser.error("--pin puts the server on one core: it needs --workers 1")
    return chosen


def picked(
    parser: argparse.ArgumentParser, flag: str, given: str | None, known: list[str], usual: list[str]
) -> list[str]:
    """Split a list that was given with commas, in the known order."""
    if not given:
        return usual
    names = known if given == "all" else given.split(",")
    for name in names:
        if name not in known:
            parser.error(f"{flag} {name!r} is unknown; there are: {', '.join(known)}")
    return [name for name in known if name in names]


def prepare(env: dict[str, str], paths: Sequence[str]) -> dict[str, Page]:
    """Fill the database, and call each page without a server: its digest is what every server must answer."""
    surroundings = {**os.environ, **env}
    subprocess.run(
        [sys.executable, "manage.py", "fill_benchmark"], cwd=PROJECT, env=surroundings, check=True, timeout=PREPARE_S
    )
    called = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.serving.inprocess", *paths],
        cwd=ROOT, env=surroundings, check=True, timeout=PREPARE_S, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    pages = {}
    for line in called.stdout.splitlines():
        data = json.loads(line)
        pages[data["path"]] = Page(data["path"], data["sha256"], data["bytes"], data["wall_us"], data["cpu_us"])
    return pages


def available(names: Sequence[str], run: Run) -> list[Server]:
    """Give the servers that can be started here; note the others, or under CI count them as failures."""
    present = []
    for server in (SERVERS[name] for name in names):
        why = server.missing()
        if not why:
            present.append(server)
        else:
            remark = f"{server.title} was not measured: {why}"
            (run.failures if os.environ.get("CI") == "true" else run.notes).append(remark)
    return present


def versions(servers: Sequence[Server]) -> dict[str, str]:
    """Give the versions of the servers and of what they share."""
    shared = {name: importlib.metadata.version(name) for name in ("Django", "httptools")}
    return shared | {server.title: server.version() for server in servers if server.version()}


def measure(chosen: argparse.Namespace) -> Run:
    """Prepare and run everything that was chosen."""
    effort = replace(Effort(), seconds=chosen.seconds, idle=chosen.idle)
    effort = replace(SMOKE if chosen.smoke else effort, seed=chosen.seed)
    rounds = 1 if chosen.smoke else chosen.rounds
    scenarios = [SCENARIOS[name] for name in chosen.scenario]
    if chosen.smoke:
        scenarios = [scenario for scenario in scenarios if scenario.smoke]
    run = Run(about={})
    servers = available(chosen.servers, run)
    limit = raise_file_limit(effort.idle + SPARE_FILES)
    if limit < effort.idle + SPARE_FILES and any(scenario.idle for scenario in scenarios):
        run.notes.append(f"Only {limit} files may be open here, so not all idle connections can be.")
    pinning = "nothing pinned to a core"
    if chosen.pin:
        os.sched_setaffinity(0, {1})
        pinning = "servers pinned to core 0, the load to core 1"
    with database.temporary("benchmark") as rows:
        env = environment(rows.address)
        pages = prepare(env, list(dict.fromkeys(path for scenario in scenarios for path in scenario.paths)))
        run.about = {
            "date": datetime.date.today().isoformat(),
            "machine": machine.shape(),
            "versions": versions(servers),
            "pinning": pinning,
            "database": rows.note,
            "pages": [asdict(page) for page in pages.values()],
            "rounds": rounds,
            "seconds": effort.seconds,
            "command": shlex.join(["python", "-m", "tests.benchmarks.serving", *sys.argv[1:]]),
        }
        print("\n".join(report.facts(run)), flush=True)
        starter = Starter(env, pages, FOLDER / "logs", pinned=chosen.pin)
        if chosen.profile:
            for scenario in scenarios:
                for path in profile.record(scenario, starter, effort, FOLDER):
                    print(f"wrote {path.relative_to(ROOT)}")
            return run
        plan = Plan(
            scenarios=scenarios, servers=servers, workers=chosen.workers, rounds=rounds, effort=effort,
            together=chosen.smoke,
        )  # fmt: skip
        execute(plan, starter, run)
    return run


def failed_quietly(run: Run) -> list[str]:
    """Name the measurements in which a request failed that had no reason to."""
    return [
        f"{SERVERS[item.server].title}, {item.scenario}, {item.workers} workers: "
        f"{item.values['failed']:.0f} requests failed"
        for item in run.measurements
        if item.values.get("failed")
    ]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options(sys.argv[1:])
    if chosen.profile and not profile.py_spy():
        print("--profile needs py-spy: install the package py-spy", file=sys.stderr)
        return 2
    if chosen.profile and (missing := SERVERS[OURS].missing()):
        print(missing, file=sys.stderr)
        return 2
    if chosen.again:
        run = Run.load(chosen.output)
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            run = measure(chosen)
        except LoadError as error:
            print(error, file=sys.stderr)
            return 2
        if chosen.profile:
            return 0
        if chosen.smoke:
            run.failures += failed_quietly(run)
        run.save(chosen.output)
    print("\n" + report.terminal(run))
    if chosen.write_docs:
        tables.write_generated(DOCS, "serving", report.markdown(run))
        print(f"wrote {DOCS.relative_to(ROOT)}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
