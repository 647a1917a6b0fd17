"""The list of everything that a full run does, in order. Only what exists in the checkout is listed.

A step is a command for the Python of one environment, with a limit and the services it takes. How it is run and
counted is in execution.py.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAIN = "main"
SERVICES = ("postgres", "postgis", "mysql", "redis", "chromium", "wrk")
# Suites run side by side, so none keeps what failed for the next.
PYTEST = ("-m", "pytest", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-p", "tests._run.results")
# In the log, for whoever wants to make it quicker.
PYTEST += ("--durations=40", "--durations-min=3")
#: Benchmark -> the programs that it alone compares with.
PEERS = {"cache": ("nginx",)}
#: Folders of tests/ that have a step of their own.
OWN_STEPS = ("browser", "docs", "example_project")

#: About the tests themselves; they know no Django.
TOOLS = ("benchmarks", "conformance", "django_suite", "run_tests")
#: Modules that take long, and how many seconds, where a usual one takes one or two: they start servers, and wait for
#: them. The log of a whole run names the slowest tests.
LONG = {
    "server/test_processes.py": 88,
    "server/test_reload.py": 70,
    "metrics/test_rollup.py": 36,
    "cache/test_faults.py": 30,
    "metrics/test_processes.py": 30,
    "server/test_serve_command.py": 24,
    "management/test_cache.py": 23,
    "server/test_deadlines.py": 23,
    "server/test_reload_many_saves.py": 23,
    "db/test_project.py": 20,
    "server/test_exports_served.py": 20,
    "cache/test_stores.py": 17,
    "db/test_faults.py": 17,
    "server/test_sharing.py": 17,
    "management/test_purge.py": 16,
    "cache/test_other_servers.py": 15,
    "cache/test_plain.py": 15,
    "server/test_behind_proxy.py": 15,
    "cache/test_served.py": 14,
    "server/test_gunicorn.py": 14,
    "cache/test_engine_faults.py": 13,
    "server/test_handover_crowd.py": 12,
    "cache/test_flight.py": 11,
    "db/test_serving.py": 11,
    "control/test_processes.py": 10,
    "server/test_reload_spare.py": 10,
}
#: The databases whose engine runs Django's own tests -> the service that each needs.
DJANGO_SUITE = {"postgresql": "postgres", "postgis": "postgis", "mysql": "mysql", "sqlite3": ""}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to run. `needs`: not run without these services; `uses`: some of its tests want these."""

    name: str
    what: str
    command: tuple[str, ...]
    limit_s: float
    environment: str = MAIN
    is_fast: bool = False
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    #: The service whose address becomes DATABASE_URL.
    database: str = ""
    #: Run by the interpreter itself, not by the environment made of it.
    is_bare: bool = False
    #: Its tests are counted one by one.
    is_pytest: bool = False
    #: It measures, so nothing runs beside it.
    is_alone: bool = False


def pytest_step(name: str, what: str, *arguments: str, **others: Any) -> Step:
    """A step that runs pytest and whose tests are counted."""
    return Step(name, what, (*PYTEST, *arguments), is_pytest=True, uses=SERVICES, **others)


def _django_suite(database: str, service: str) -> Step:
    """Django's own tests, as many as take half a minute, with its engine and with ours."""
    return Step(
        f"django-{database}",
        f"Django's own tests with our engine for {database}",
        ("-m", "tests.django_suite", "--core", "--database", database),
        400,
        needs=(service,) if service else (),
    )


def all_steps(root: Path, main_minor: str, newest: Iterable[str], sharing: Iterable[str] | None = None) -> list[Step]:
    """Every step of this checkout. `newest` are the Pythons to run with the newest Django; those of them that are
    `sharing`, all unless it is said, divide the suite's modules among them."""
    tests = root / "tests"
    newest = list(newest)
    sharing = newest if sharing is None else list(sharing)
    suite = ["tests", *_ignored(OWN_STEPS)]
    modules = shared(tests)
    shop = ("tests/example_project", "--ds=bookshop.settings")
    steps = [
        Step("ruff", "ruff check", ("-m", "ruff", "check", "."), 60, is_fast=True),
        Step("format", "ruff format --check", ("-m", "ruff", "format", "--check", "."), 60, is_fast=True),
        Step("mypy", "mypy, strict, on the package", ("-m", "mypy"), 300, is_fast=True),
        pytest_step(
            f"pytest-{main_minor}", f"the suite, Django 5.2, Python {main_minor}", *suite, limit_s=2400, is_fast=True
        ),
        # Side by side with that one, for these are the longest. Each module runs with the oldest Django and with the
        # newest: on one of the Pythons for that, or three times the suite would not fit into the time that there is.
        *(
            pytest_step(
                f"pytest-{minor}",
                f"the suite, shared, newest Django, Python {minor}",
                *suite,
                *_ignored(TOOLS),
                *_ignored(left_to_others(modules, minor, sharing)),
                limit_s=2400,
                environment=minor,
            )
            for minor in newest
        ),
    ]
    if (tests / "example_project").is_dir():
        steps += [
            pytest_step("shop-sqlite", "the bookshop's suite on SQLite", *shop, limit_s=300, is_fast=True),
            pytest_step(
                "shop-postgres",
                "the bookshop's suite on PostgreSQL",
                *shop,
                limit_s=300,
                needs=("postgres",),
                database="postgres",
            ),
            pytest_step(
                "shop-mariadb",
                "the bookshop's suite on MariaDB",
                *shop,
                limit_s=300,
                needs=("mysql",),
                database="mysql",
            ),
        ]
    if (tests / "browser").is_dir():
        steps.append(pytest_step("browser", "the browser's tests", "tests/browser", limit_s=480))
    if (tests / "docs").is_dir():
        steps.append(pytest_step("docs", "the documentation's tests", "tests/docs", limit_s=120, is_fast=True))
    quickstart = "example_project/quickstart.py"
    if (root / quickstart).is_file():
        steps.append(Step("quickstart", f"{quickstart} --check", (quickstart, "--check"), 300, is_bare=True))
    if (root / "django_wsgiperf" / "db" / "backends").is_dir():
        steps += [_django_suite(database, service) for database, service in DJANGO_SUITE.items()]
    if (tests / "conformance").is_dir():
        steps.append(
            Step(
                "conformance",
                "the response cache in the public test suite for HTTP caches",
                ("-m", "tests.conformance", "--ours"),
                240,
                needs=("cache_tests",),
            )
        )
    steps.append(Step("wheel", "build the wheel and use it", ("-m", "tests._run.wheel"), 300))
    # Last: what runs alone makes the others wait.
    for main in sorted(tests.glob("benchmarks/*/__main__.py")):
        name = main.parent.name
        command = ("-m", f"tests.benchmarks.{name}", "--smoke")
        uses = (*SERVICES, *PEERS.get(name, ()))
        steps.append(Step(f"bench-{name}", f"benchmark {name}, smoke run", command, 420, needs=("wrk",), uses=uses))
    return steps


def shared(tests: Path) -> list[str]:
    """The modules that the Pythons with the newest Django divide among them."""
    own = {*OWN_STEPS, *TOOLS}
    names = (path.relative_to(tests) for path in sorted(tests.rglob("test_*.py")))
    return [name.as_posix() for name in names if name.parts[0] not in own]


def left_to_others(modules: Iterable[str], minor: str, sharing: Sequence[str]) -> list[str]:
    """The modules that this Python leaves to the others that share; a Python that does not share leaves none."""
    if minor not in sharing:
        return []
    taken = dict.fromkeys(sharing, 0)
    others = []
    # The longest first, each to whoever has least: so that all end at about the same time.
    for name in sorted(modules, key=lambda name: (-LONG.get(name, 1), name)):
        takes_it = min(sharing, key=taken.__getitem__)
        taken[takes_it] += LONG.get(name, 1)
        if takes_it != minor:
            others.append(name)
    return others


def _ignored(names: Iterable[str]) -> list[str]:
    return [f"--ignore=tests/{name}" for name in names]


def select(
    steps: Iterable[Step], *, fast: bool = False, only: Iterable[str] = (), environment: str | None = None
) -> list[Step]:
    """The steps that are asked for. `only` takes names, beginnings of names (`shop`) and patterns (`*-3.1?`)."""
    patterns = list(only)
    return [
        step
        for step in steps
        if (not fast or step.is_fast)
        and (environment is None or step.environment == environment)
        and (not patterns or any(matches(step.name, pattern) for pattern in patterns))
    ]


def matches(name: str, pattern: str) -> bool:
    """Whether the step is meant: by its name, the beginning of its name up to a dash, or a pattern."""
    return fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}-")
