"""`python -m tests.benchmarks.serving`: `manage.py serve` beside its peers, with the same project and load."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

from tests.benchmarks.common import database, program, subjects
from tests.benchmarks.common.asking import json_lines
from tests.benchmarks.common.places import FOLDER, ROOT
from tests.benchmarks.common.report import rounds
from tests.benchmarks.common.results import Run
from tests.benchmarks.common.tables import number
from tests.benchmarks.serving import profile, report, targets
from tests.benchmarks.serving.idle import SPARE_FILES, raise_file_limit
from tests.benchmarks.serving.runner import Plan, execute
from tests.benchmarks.serving.scenarios import CELLS, SCENARIOS, SMOKE, Effort
from tests.benchmarks.serving.servers import OURS, SERVERS, UWSGI_SOCKET, Server
from tests.benchmarks.serving.session import Page, Starter, environment

PREPARE_S = 120.0


class Serving(program.Benchmark):
    """WSGI servers."""

    name, flag, heading = "serving", "servers", "###"
    usual, smoke = Effort(), SMOKE
    subjects: ClassVar = {name: server.title for name, server in SERVERS.items()}
    titles: ClassVar = {name: cell.title for name, cell in CELLS.items()}
    table = staticmethod(report.table)
    judge = staticmethod(targets.judge)

    @property
    def usual_subjects(self) -> Sequence[str]:
        return [name for name in SERVERS if name != UWSGI_SOCKET]

    @property
    def scenarios(self) -> Sequence[str]:
        return list(SCENARIOS)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--workers", default="1,2", help="worker processes, with commas (default 1,2)")
        parser.add_argument("--idle", type=int, default=10_000, help="idle connections (default 10,000)")
        parser.add_argument("--pin", action="store_true", help="servers on core 0, load on core 1; 1 worker only")
        parser.add_argument("--profile", action="store_true", help="profile serve with py-spy instead of measuring")

    def check(self, parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
        known = ("1", "2")
        chosen.workers = [int(count) for count in program.picked(parser, "--workers", chosen.workers, known, known)]
        if chosen.pin and chosen.workers != [1]:
            parser.error("--pin puts the server on one core: it needs --workers 1")

    def instead(self, chosen: argparse.Namespace, effort: Effort) -> int | None:
        """--profile."""
        if not chosen.profile:
            return None
        if missing := SERVERS[OURS].missing() or profile.missing():
            print(missing, file=sys.stderr)
            return 2
        scenarios = [SCENARIOS[name] for name in chosen.scenario]
        with database.temporary("benchmark") as rows:
            env = environment(rows.address)
            pages = prepare(env, [path for scenario in scenarios for path in scenario.paths])
            starter = Starter(env, pages, FOLDER / "logs", pinned=chosen.pin)
            for scenario in scenarios:
                for path in profile.record(scenario, starter, effort, FOLDER):
                    print(f"wrote {path.relative_to(ROOT)}")
        return 0

    def measure(self, chosen: argparse.Namespace, effort: Effort, run: Run) -> None:
        scenarios = [SCENARIOS[name] for name in chosen.scenario]
        if chosen.smoke:
            scenarios = [scenario for scenario in scenarios if scenario.smoke]
        elif chosen.idle != effort.idle:
            effort = replace(effort, idle=chosen.idle)
        servers = subjects.present((SERVERS[name] for name in chosen.subjects), run, Server.missing)
        limit = raise_file_limit(effort.idle + SPARE_FILES)
        if limit < effort.idle + SPARE_FILES and any(scenario.idle for scenario in scenarios):
            run.note(f"Only {limit} files may be open here, so not all idle connections can be.")
        if chosen.pin:
            os.sched_setaffinity(0, {1})
            run.about["pinning"] = "servers pinned to core 0, the load to core 1"
        with database.temporary("benchmark") as rows:
            env = environment(rows.address)
            pages = prepare(env, list(dict.fromkeys(path for scenario in scenarios for path in scenario.paths)))
            run.about |= {
                "versions": versions(servers),
                "database": rows.note,
                "pages": [asdict(page) for page in pages.values()],
            }
            self.announce(run)
            starter = Starter(env, pages, FOLDER / "logs", pinned=chosen.pin)
            plan = Plan(
                scenarios=scenarios, servers=servers, workers=chosen.workers, effort=effort, together=chosen.smoke
            )
            execute(plan, starter, run)

    def remarks(self, run: Run, scenario: str) -> list[str]:
        return report.disturbance(run, scenario)

    def facts(self, about: dict[str, Any]) -> list[str]:
        pages = ", ".join(
            f"`{page['path']}` {number(page['wall_us'])} us ({number(page['cpu_us'])} us of it processor)"
            for page in about["pages"]
        )
        return [
            f"Database: {about['database']}.",
            f"In-process, without any server: {pages}.",
            f"{rounds(about)}, interleaved, {about['seconds']:g} s each.",
        ]


def prepare(env: dict[str, str], paths: Sequence[str]) -> dict[str, Page]:
    """Fill the database, and call each page without a server: its digest is what every server must answer."""
    database.fill(env)
    pages = {}
    for data in json_lines("tests.benchmarks.serving.inprocess", paths, limit_s=PREPARE_S, env={**os.environ, **env}):
        pages[data["path"]] = Page(data["path"], data["sha256"], data["bytes"], data["wall_us"], data["cpu_us"])
    return pages


def versions(servers: Sequence[Server]) -> dict[str, str]:
    """Give the versions of the servers and of what they share."""
    shared = subjects.versions("Django", "httptools")
    return shared | {server.title: server.version() for server in servers if server.version()}


if __name__ == "__main__":
    sys.exit(program.main(Serving()))
