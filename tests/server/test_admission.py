"""The number of requests that may compute at once follows the load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server.admission import LEAST, ComputeLimit, Load, Meter


def settle(share: float, *, most: int = 12, start: int = 3, idle: float | None = 0.3) -> list[int]:
    """A site whose requests compute for `share` of their time when alone: the limits of 25 s after the first 15."""
    limit = ComputeLimit(most)
    limit.limit = start
    seen = []
    for _ in range(160):
        # Requests run side by side until their computing fills the lock.
        used = min(1.0, limit.limit * share)
        seen.append(limit.adjust(Load(used * 0.25, 0.25, idle), waiting=20))
    return seen[60:]


@pytest.mark.parametrize("start", [1, 3, 12])
def test_pages_that_only_compute_come_down_to_the_least(start: int) -> None:
    assert set(settle(1.0, start=start)) == {LEAST}


@pytest.mark.parametrize("start", [2, 12])
@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_pages_that_also_wait_get_as_many_as_keep_the_lock_busy(share: float, start: int) -> None:
    used = [min(1.0, limit * share) for limit in settle(share, start=start)]
    assert sum(used) / len(used) > 0.85


def test_machine_without_an_idle_processor_is_asked_for_nothing_more() -> None:
    assert set(settle(0.01, start=4, idle=0.0)) == {LEAST}


def test_nothing_changes_while_nobody_waits() -> None:
    limit = ComputeLimit(12)
    assert {limit.adjust(Load(0.05, 0.25, idle=0.9), waiting=0) for _ in range(50)} == {3}


@given(
    most=st.integers(1, 64),
    looks=st.lists(
        st.tuples(st.floats(0, 64), st.floats(0, 10), st.none() | st.floats(0, 1), st.integers(0, 1000)), max_size=50
    ),
)
def test_limit_stays_in_its_bounds(most: int, looks: list[tuple[float, float, float | None, int]]) -> None:
    limit = ComputeLimit(most)
    for used, wall, idle, waiting in looks:
        assert min(LEAST, most) <= limit.adjust(Load(used, wall, idle), waiting) <= most


def test_meter_sees_this_process_work() -> None:
    meter = Meter()
    sum(range(2_000_000))
    load = meter.load()
    assert load.process_s > 0
    assert load.wall_s > 0
    assert load.idle is None or 0 <= load.idle <= 1
