"""What fails is left alone, tried by one, and taken back; the log tells of it once each way."""

from __future__ import annotations

import threading

import pytest

from django_wsgiperf.cache.breaker import Breaker
from django_wsgiperf.cache.store import GuardedStore, PurgeOrder, StoreRefused, StoreUnavailable

from .fakes import FakeClock, FakeLog, Worker


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(
        "It", lost="%s is lost: %s", regained="%s is back", threshold=3, first_rest_s=1, longest_rest_s=4, clock=clock
    )


def trip(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        breaker.failed(OSError("no answer"))


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    trip(breaker, 2)
    breaker.succeeded()
    trip(breaker, 2)
    assert breaker.allows()
    trip(breaker, 1)
    assert not breaker.allows()
    assert breaker.numbers().avoided == 1


def test_one_caller_tries_while_the_others_stay_away(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1)
    start = threading.Barrier(8)

    def ask() -> bool:
        start.wait(20)
        return breaker.allows()

    workers = [Worker(ask) for _ in range(8)]
    assert sum(worker.result() for worker in workers) == 1


def test_a_trial_that_goes_well_closes_it(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1)
    assert breaker.allows()
    breaker.succeeded()
    assert not breaker.is_open
    assert all(breaker.allows() for _ in range(10))


def test_trials_that_fail_come_ever_more_seldom_up_to_a_limit(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    rests = []
    for _ in range(5):
        rest_s = 0.0
        while not breaker.allows():
            clock.advance(0.5)
            rest_s += 0.5
        rests.append(rest_s)
        breaker.failed(OSError("no answer"))
    assert rests == [1, 2, 4, 4, 4]


def test_a_trial_whose_end_nobody_hears_of_is_followed_by_another(breaker: Breaker, clock: FakeClock) -> None:
    trip(breaker)
    clock.advance(1)
    assert breaker.allows()
    clock.advance(1)
    assert breaker.allows()


def test_the_log_tells_once_each_way(breaker: Breaker, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    trip(breaker, 10)
    for _ in range(10):
        clock.advance(4)
        assert breaker.allows()
        breaker.failed(OSError("no answer"))
    breaker.succeeded()
    breaker.succeeded()
    assert len(caplog.records) == 1, "whether it stays is not known yet"
    clock.advance(2)
    breaker.succeeded()
    breaker.succeeded()
    assert [record.getMessage() for record in caplog.records] == [
        "It is lost: no answer",
        "It is back (after 40.0 s)",
    ]


def test_what_comes_back_and_fails_once_more_is_one_outage(
    breaker: Breaker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        trip(breaker)
        clock.advance(4)
        assert breaker.allows()
        breaker.succeeded()
        clock.advance(1.9)
    breaker.succeeded()
    assert len(caplog.records) == 1
    clock.advance(0.1)
    breaker.succeeded()
    trip(breaker)
    assert [record.getMessage() for record in caplog.records] == [
        "It is lost: no answer",
        "It is back (after 27.6 s)",
        "It is lost: no answer",
    ]


def test_what_comes_back_only_to_fail_again_is_tried_less_often(breaker: Breaker, clock: FakeClock) -> None:
    openings = 0
    for _ in range(100):
        clock.advance(0.5)
        if breaker.allows():
            breaker.succeeded()
            trip(breaker)
            openings += 1
    assert openings <= 17, "about one in four seconds"
    breaker.succeeded()
    clock.advance(121)
    trip(breaker)
    clock.advance(1)
    assert breaker.allows(), "well for long, it starts anew"


# -- the guard before a store


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def guard(log: FakeLog, clock: FakeClock) -> GuardedStore:
    return GuardedStore(log, clock=clock)


def test_a_store_that_is_down_keeps_nothing_has_nothing_and_raises_nothing(log: FakeLog, guard: GuardedStore) -> None:
    log.down = True
    assert guard.fetch(["a"], 0) is None
    assert guard.set("a", b"WPC", 60) is False
    assert guard.delete(["a"]) is False
    assert guard.add("a", b"L", 60) is None
    guard.delete_if("a", b"L")
    assert not guard.is_reachable
    asked = log.asked
    assert guard.fetch(["a"], 0) is None
    assert log.asked == asked, "it is left alone"


def test_about_purges_it_is_frank(log: FakeLog, guard: GuardedStore) -> None:
    log.down = True
    with pytest.raises(StoreUnavailable):
        guard.purges_since(0)
    with pytest.raises(StoreUnavailable):
        guard.purge(PurgeOrder(("a",)), 0)
    with pytest.raises(StoreUnavailable):
        guard.listen()


def test_a_full_store_is_read_and_asked_for_room_now_and_then(
    log: FakeLog, guard: GuardedStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    guard.set("a", b"WPC", 60)
    log.full = True
    for _ in range(5):
        assert not guard.set("b", b"WPC", 60)
        assert guard.add("c", b"L", 60) is None
    fetched = guard.fetch(["a", "b"], 0)
    assert fetched is not None
    assert fetched[0] == [b"WPC", None]
    assert guard.is_reachable
    assert guard.numbers()["writes"].avoided == 9
    assert guard.delete(["a"]), "to forget it is still asked"
    with pytest.raises(StoreRefused):
        guard.purge(PurgeOrder(("a",)), 0)
    log.full = False
    clock.advance(5)
    assert guard.set("b", b"WPC", 60)
    clock.advance(2)
    assert guard.fetch(["b"], 0) is not None, "to read is enough"
    assert [record.getMessage().partition(":")[2].partition(":")[0].strip() for record in caplog.records] == [
        "the shared page cache takes nothing new, and is only read",
        "the shared page cache takes pages again (after 5.0 s)",
    ]


def test_a_channel_that_may_not_be_listened_to_costs_the_channel_alone(
    log: FakeLog, guard: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise StoreRefused("NOPERM")

    monkeypatch.setattr(log, "listen", refused)
    for _ in range(10):
        assert guard.listen() is None
    assert guard.is_reachable
