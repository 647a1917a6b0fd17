"""The database benchmark without load: who takes part, in which order, and how a run is judged and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.common import machine, report
from tests.benchmarks.common.results import Measurement, Run, load, save
from tests.benchmarks.database.__main__ import Database
from tests.benchmarks.database.scenarios import HELD, INPROCESS, Effort, groups
from tests.benchmarks.database.setups import CLOSE, KEEP, NATIVE, OURS, OURS_TRANSACTION, SETUPS
from tests.benchmarks.database.targets import judge
from tests.services import Address

ADDRESS = Address.parse("postgres://me:secret@127.0.0.1:6543/shop")
ABOUT = {
    "date": "2026-01-01",
    "machine": machine.shape(),
    "versions": {"Django": "5.2"},
    "database": "PostgreSQL 15",
    "rounds": 2,
    "seconds": 1.0,
    "threads": 12,
    "clients": 32,
    "pinning": "nothing pinned to a core",
    "command": "python -m tests.benchmarks.database",
}


def measured(scenario: str, setup: str, size: int, *values: dict[str, float]) -> list[Measurement]:
    return [
        Measurement(scenario=scenario, subject=setup, size=size, round=number, values=value)
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize("name", SETUPS)
def test_each_setup_connects_to_the_same_place(name: str) -> None:
    entry = SETUPS[name].database(ADDRESS, 4)
    place = {key: entry[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    assert place == {"NAME": "shop", "USER": "me", "PASSWORD": "secret", "HOST": "127.0.0.1", "PORT": "6543"}


def test_every_pool_is_given_the_same_number_of_connections() -> None:
    sizes = {
        "native": SETUPS[NATIVE].database(ADDRESS, 4)["OPTIONS"]["pool"]["max_size"],
        "dj": SETUPS["dj"].database(ADDRESS, 4)["POOL_OPTIONS"]["POOL_SIZE"],
        "ours": SETUPS[OURS].database(ADDRESS, 4)["POOL"]["MAX_SIZE"],
    }
    assert set(sizes.values()) == {4}


def test_each_pool_is_measured_with_each_size_beside_persistent_connections() -> None:
    chosen = [SETUPS[name] for name in (CLOSE, KEEP, NATIVE, OURS, OURS_TRANSACTION)]
    few, many = groups(chosen, Effort(rounds=3, sizes=(4, 12)))
    assert (few.size, [setup.name for setup in few.setups]) == (4, [setup.name for setup in chosen])
    assert (many.size, [setup.name for setup in many.setups]) == (12, [KEEP, NATIVE, OURS])
    # A ratio is of two numbers of one round, so no round belongs to both.
    assert (few.first_round, many.first_round) == (0, 3)


def test_no_group_needs_more_sessions_than_a_server_of_the_usual_size_has() -> None:
    for group in groups(list(SETUPS.values()), Effort()):
        assert sum(group.size if setup.is_pool else 12 for setup in group.setups) <= 90


def test_costs_are_judged_by_what_they_are_over_a_persistent_connection_of_the_same_round() -> None:
    run = Run(about=ABOUT)
    run.measurements += measured(INPROCESS, KEEP, 0, {"exchange_us": 5.0}, {"exchange_us": 50.0})
    run.measurements += measured(INPROCESS, OURS, 4, {"exchange_us": 23.0}, {"exchange_us": 72.0})
    (verdict,) = judge(run, INPROCESS)
    assert (verdict.measured, verdict.word) == (20.0, "met")


def test_few_connections_are_judged_beside_persistent_ones_and_every_pool_that_was_measured() -> None:
    run = Run(about=ABOUT)
    run.measurements += measured("five", KEEP, 0, {"rate": 100.0}, {"rate": 200.0})
    run.measurements += measured("five", NATIVE, 4, {"rate": 96.0}, {"rate": 193.0})
    run.measurements += measured("five", OURS, 4, {"rate": 94.0}, {"rate": 194.0})
    beside_persistent, beside_native = judge(run, "five")
    assert beside_persistent.measured == pytest.approx((0.94 + 0.97) / 2)
    assert beside_persistent.word == "met"
    assert beside_native.measured == pytest.approx((94 / 96 + 194 / 193) / 2)
    assert beside_native.word == "not met"


def test_run_survives_writing_and_reading_and_is_shown_whole(tmp_path: Path) -> None:
    run = Run(about=ABOUT)
    run.note("A note.", "five")
    run.measurements += measured("five", KEEP, 0, {"rate": 100.0, "p50_ms": 3.0, "failed": 0})
    run.measurements += measured("five", OURS, 4, {"rate": 97.0, "p50_ms": 3.1, "failed": 0})
    run.measurements += measured(f"{HELD}-serve", OURS, 12, {"readers": 8, "held": 0, "held_max": 0})
    run.finished += ["five", f"{HELD}-serve"]
    save(tmp_path / "run.json", [run])
    assert load(tmp_path / "run.json") == [run]
    page = report.markdown(Database(), run, "five")
    for text in (
        "A page with five queries",
        "| django-wsgiperf | 4 | 97.0 | 0.97 |",
        "- A note.",
        "1 of 1 targets met",
    ):
        assert text in page
    assert "Slow readers of a page of 1 MB under serve" in report.terminal(Database(), run)
