"""The benchmark of the metrics without load: who takes part, and how a run is judged and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.common import machine, program, report
from tests.benchmarks.common.asking import Broken
from tests.benchmarks.common.results import Measurement, Run, load, save
from tests.benchmarks.metrics import __main__ as main
from tests.benchmarks.metrics.scenarios import AGGREGATION, OVERVIEW, REQUESTS, Child, Effort, execute
from tests.benchmarks.metrics.scenarios import program as run_program
from tests.benchmarks.metrics.setups import BASE, OURS, PEERS, PROMETHEUS, SETUPS, Setup

ABOUT = {
    "date": "2026-01-01",
    "machine": machine.shape(),
    "versions": {"Django": "5.2"},
    "rounds": 2,
    "seconds": 1.0,
    "pinning": "nothing pinned to a core",
    "command": "python -m tests.benchmarks.metrics",
}

BENCHMARK = main.Metrics()


def measured(scenario: str, subject: str, *values: dict[str, float]) -> list[Measurement]:
    return [
        Measurement(scenario=scenario, subject=subject, round=number, values=value)
        for number, value in enumerate(values)
    ]


def costs(request: float, query: float) -> dict[str, float]:
    return {"request_us": request, "query_us": query, "orm_us": 80 + query}


def test_every_way_has_the_same_pages_and_a_database_of_its_own() -> None:
    found = [setup.settings(f"/tmp/{setup.name}.sqlite3") for setup in SETUPS.values()]
    assert {settings["ROOT_URLCONF"] for settings in found} == {"tests.benchmarks.metrics.pages"}
    assert len({settings["DATABASES"]["default"]["NAME"] for settings in found}) == len(SETUPS)
    assert {settings["DATABASES"]["default"]["CONN_MAX_AGE"] for settings in found} == {None}
    assert found[0]["MIDDLEWARE"] == []


def test_what_is_added_is_the_difference_within_a_round() -> None:
    run = Run(about=ABOUT)
    run.measurements += measured(REQUESTS, BASE, costs(30, 2), costs(60, 4), costs(33, 2))
    run.measurements += measured(REQUESTS, OURS, costs(39, 3), costs(69, 5), costs(40, 2.5))
    run.measurements += measured(REQUESTS, PROMETHEUS, costs(70, 7), costs(120, 9), costs(78, 7))
    request, query, beside = report.judged(BENCHMARK, run)
    assert (request.measured, request.word) == (9, "met")
    assert (query.measured, query.word) == (1, "met")
    assert beside.measured == pytest.approx(9 / 45)
    assert SETUPS[PROMETHEUS].title in beside.what


def test_share_memory_and_first_screen_are_judged() -> None:
    run = Run(about=ABOUT)
    run.measurements += measured(AGGREGATION, "ours", {"share": 0.02, "megabytes": 5.0})
    run.measurements += measured(OVERVIEW, "SQLite", {"first_ms": 100.0, "again_ms": 40.0})
    run.measurements += measured(OVERVIEW, "PostgreSQL", {"first_ms": 160.0, "again_ms": 40.0})
    assert [verdict.word for verdict in report.judged(BENCHMARK, run)] == ["not met", "met", "met", "not met"]


def test_nothing_is_judged_that_was_not_measured() -> None:
    assert report.judged(BENCHMARK, Run(about=ABOUT)) == []
    run = Run(about=ABOUT)
    run.measurements += measured(REQUESTS, BASE, costs(30, 2))
    assert [verdict.word for verdict in report.judged(BENCHMARK, run)] == ["not measured"] * 2


def test_run_survives_writing_and_reading_and_is_shown_whole(tmp_path: Path) -> None:
    run = Run(about=ABOUT)
    run.note("A note.")
    run.fail("a failure", OVERVIEW)
    run.measurements += measured(REQUESTS, BASE, costs(30, 2)) + measured(REQUESTS, OURS, costs(39, 3))
    values = {"rate": 1000.0, "share": 0.005, "megabytes": 5.0, "records": 3000, "dropped": 0}
    run.measurements += measured(AGGREGATION, "ours", values)
    run.measurements += measured(OVERVIEW, "SQLite", {"first_ms": 100.0, "again_ms": 40.0})
    save(tmp_path / "run.json", [run])
    assert load(tmp_path / "run.json") == [run]
    page = "".join(report.markdown(BENCHMARK, run, scenario) for scenario in run.scenarios())
    assert page.count("A note.") == 3
    assert page.count("a failure") == 1
    for text in (
        "| django-wsgiperf | 39.0 | 9.00 | 3.00 | 1.00 |",
        "- A note.",
        "Failed: a failure",
        "| SQLite | 100 |",
    ):
        assert text in page
    assert "5 of 5 targets met" in report.terminal(BENCHMARK, run)


def test_differences_need_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.options(BENCHMARK, ["--setups", f"{OURS},{PROMETHEUS}"])
    assert "needs base and ours" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.options(BENCHMARK, ["--smoke", "--write-docs"])
    assert program.options(BENCHMARK, ["--scenario", "overview,requests"]).scenario == [REQUESTS, OVERVIEW]


def test_peer_that_is_missing_is_noted_and_under_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Setup(name="absent", title="absent", package="no-such-package-anywhere")
    monkeypatch.setattr(main, "SETUPS", {**SETUPS, "absent": absent})
    for ci, noted, failed in (("", 1, 0), ("true", 0, 1)):
        monkeypatch.setenv("CI", ci)
        run = Run(about=ABOUT)
        assert [setup.name for setup in main.available([BASE, "absent"], run)] == [BASE]
        assert (len(run.notes), len(run.failures)) == (noted, failed)
    assert set(PEERS) < set(SETUPS)


def test_child_asks_its_own_pages(tmp_path: Path) -> None:
    child = Child(SETUPS[OURS], tmp_path)
    try:
        child.wait()
        assert all(child.batch(page, 0.01) > 0 for page in ("plain", "queries"))
    finally:
        child.stop()


def test_child_that_fails_says_why(tmp_path: Path) -> None:
    broken = Setup(name=OURS, title="broken")
    child = Child(broken, tmp_path)
    try:
        child.wait()
        with pytest.raises(Broken, match=r"broken: .*KeyError"):
            child.batch("no-such-page", 0.01)
    finally:
        child.stop()


def test_what_breaks_is_a_failure_and_the_rest_is_measured() -> None:
    run = Run(about=ABOUT)
    effort = Effort(rounds=1, aggregate_s=0.2)
    nowhere = {"nowhere": {"ENGINE": "django.db.backends.nothing", "NAME": ""}}
    execute([OVERVIEW, AGGREGATION], [], nowhere, effort, run)
    assert len(run.failures) == 1
    assert "overview" in run.failures[0].text
    assert run.scenarios() == run.finished == [AGGREGATION]
    with pytest.raises(Broken):
        run_program("aggregation", limit_s=60)
