"""Real processes: forked, ended, killed, beside each other. Each counts for itself, and its last minute is written."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from dj_database_url import parse

from .conftest import CACHES
from .processes import migrate, requests, run, script, settings_of

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A store in an SQLite file."""
    given = settings_of("database", tmp_path)
    migrate(given)
    return given


def test_process_that_ends_writes_its_last_minute(settings: dict[str, Any]) -> None:
    run(settings, "count(500)")
    assert requests(settings) == 500
    # Its report is gone with it, and its rows are closed.
    assert run(settings, "print(len(pipeline.worker().store().reports(0)))") == "0\n"
    assert run(settings, "print(len(pipeline.worker().store().unrolled(0, 1 << 40, 9, closed=True)))") == "1\n"


def test_process_that_fails_writes_its_last_minute(settings: dict[str, Any]) -> None:
    process = script(settings, "count(500)\nraise SystemExit(3)")
    process.communicate(timeout=100)
    assert process.returncode == 3
    assert requests(settings) == 500


def test_killed_process_loses_what_it_had_not_written_and_no_more(settings: dict[str, Any]) -> None:
    process = script(
        settings, "count(40)\nassert pipeline.flush(30)\ncount(2)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=100)
    assert 40 <= requests(settings) <= 42
    later = "from django_wsgiperf.metrics import rollup\nw = pipeline.worker()\n"
    later += "rollup.run(w.store(), w.settings, owner='x', now_s=int(time.time()) + 1500)\n"
    before = requests(settings)
    run(settings, later)
    assert requests(settings) == before


FORKS = """
count(10)
assert pipeline.flush(30)
count(5)
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        try:
            assert not pipeline.running
            assert pipeline.cumulative().total()["requests"] == 0
            count(100)
            assert pipeline.worker()._thread.is_alive()
            pipeline.shutdown(30)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
count(1)
names = {pipeline.instance()}
assert pipeline.flush(30)
"""


def test_forked_children_count_for_themselves(settings: dict[str, Any]) -> None:
    settings["WSGIPERF"]["METRICS"]["MAX_PENDING"] = 1000
    process = script(settings, FORKS)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert requests(settings) == 10 + 5 + 1 + 3 * 100


FORK_WHILE_COUNTING = """
import threading
stop = threading.Event()
def load():
    while not stop.is_set():
        count(20)
        time.sleep(0.001)
threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        count(7)
        os._exit(0 if pipeline.flush(30) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert pipeline.flush(30)
print(pipeline.worker().records)
"""


def test_fork_in_the_middle_of_counting_leaves_no_lock_behind(settings: dict[str, Any]) -> None:
    settings["WSGIPERF"]["METRICS"]["STORE"] = "memory"
    process = script(settings, FORK_WHILE_COUNTING)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert int(output) > 0


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "redis", "django-redis"])
def test_processes_beside_each_other_count_once_in_one_store(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    given = settings_of("redis" if kind in CACHES else "database", tmp_path, HOST=f"host-{tmp_path.name}")
    if kind in CACHES:
        location = request.getfixturevalue("redis_url")
        given["CACHES"] = {"default": {"BACKEND": CACHES[kind], "LOCATION": location, "KEY_PREFIX": tmp_path.name}}
    elif kind != "sqlite":
        given["DATABASES"] = {"default": parse(request.getfixturevalue(f"{kind}_url"))}
    if kind not in CACHES:
        migrate(given)
    work = "for _ in range(5):\n    count(50)\n    pipeline.flush(30)\n"
    processes = [script(given, work) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    host = given["WSGIPERF"]["METRICS"]["HOST"]
    assert run(given, f"print(query.overview('1h', host={host!r}).totals.requests)") == "750\n"


def test_tables_that_are_missing_are_told_with_the_remedy(tmp_path: Path) -> None:
    process = script(
        settings_of("database", tmp_path), "import logging\nlogging.basicConfig()\ncount(1)\npipeline.flush(30)"
    )
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0
    assert errors.count("manage.py migrate django_wsgiperf") == 1
    assert "Traceback" not in errors


def test_project_without_a_database_goes_on(tmp_path: Path) -> None:
    given = settings_of("database", tmp_path)
    del given["DATABASES"]
    process = script(given, "count(5)\nprint(pipeline.flush(30))\nprint(pipeline.status()['last_error'])")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert output.startswith("False\n")
    assert "DATABASES" in output
