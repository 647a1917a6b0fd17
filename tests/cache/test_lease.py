"""One process makes a page for all, and none is held up by another that died or by a store that is out of order."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from django.test import override_settings

from django_wsgiperf.cache.lease import Lease, Leases, Wish
from django_wsgiperf.cache.store import GuardedStore
from django_wsgiperf.cache.stores import open_store

from .fakes import FakeClock, FakeLog, Worker
from .private_redis import redis_caches

T = TypeVar("T")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


def leases(log: FakeLog, clock: FakeClock, meanwhile: Callable[[], None] = lambda: None) -> Leases:
    """Leases that do not sleep but let time pass; `meanwhile` happens in each rest."""

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        meanwhile()

    return Leases(GuardedStore(log, clock=clock), clock=clock, sleep=sleep)


def nothing() -> None:
    return None


def asking(log: FakeLog, clock: FakeClock, find: Callable[[], T | None] = nothing) -> Callable[[Wish], T | None]:
    """What looks with `find`, after it has asked for the lease."""
    store = GuardedStore(log, clock=clock)

    def ask(wish: Wish) -> T | None:
        wish.was_added = store.add(wish.key, wish.value, wish.ttl_s)
        return None if wish.was_added is None else find()

    return ask


def test_a_lease_is_had_by_one_until_it_is_released(log: FakeLog, clock: FakeClock) -> None:
    ours, theirs = leases(log, clock), leases(log, clock)
    lease = ours.take("page")
    assert lease is not None
    assert lease.is_known
    assert theirs.take("page") is None
    with lease:
        pass
    lease.release()
    assert theirs.take("page") is not None


def test_a_lease_that_ran_out_and_was_taken_by_another_is_not_released_for_it(log: FakeLog, clock: FakeClock) -> None:
    ours, theirs = leases(log, clock), leases(log, clock)
    late = ours.take("page")
    assert late is not None
    log.forget()
    assert theirs.take("page") is not None
    late.release()
    assert ours.take("page") is None


def test_without_the_store_everybody_has_the_lease(log: FakeLog, clock: FakeClock) -> None:
    log.down = True
    both = [leases(log, clock).take("page") for _ in range(2)]
    assert all(lease is not None and not lease.is_known for lease in both)
    for lease in both:
        assert lease is not None
        lease.release()


def test_who_comes_second_finds_what_the_first_has_made(log: FakeLog, clock: FakeClock) -> None:
    leases(log, clock).take("page")
    rests = []

    def meanwhile() -> None:
        rests.append(clock())
        if len(rests) == 4:
            log.set("page", b"WPC", 60)

    second = leases(log, clock, meanwhile)
    assert second.take_or_find("page", asking(log, clock, lambda: log.values.get("page")), limit_s=5) == b"WPC"
    assert len(rests) == 4


def test_who_comes_second_takes_over_when_the_first_dies(log: FakeLog, clock: FakeClock) -> None:
    leases(log, clock).take("page")
    found = leases(log, clock, log.values.clear).take_or_find("page", asking(log, clock), limit_s=5)
    assert isinstance(found, Lease)
    assert found.is_known


def test_what_was_made_between_two_questions_is_found_and_not_made_again(log: FakeLog, clock: FakeClock) -> None:
    first = leases(log, clock).take("page")
    assert first is not None
    answers = iter([None, b"WPC"])

    def find() -> bytes | None:
        # It is stored and the lease released right after this look.
        first.release()
        return next(answers)

    assert leases(log, clock).take_or_find("page", asking(log, clock, find), limit_s=5) == b"WPC"
    assert not log.values, "the lease was given back"


def test_a_look_that_is_interrupted_leaves_no_lease_behind(log: FakeLog, clock: FakeClock) -> None:
    def find() -> None:
        assert log.values, "the lease is had"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leases(log, clock).take_or_find("page", asking(log, clock, find), limit_s=5)
    assert not log.values


def test_who_takes_over_has_it_for_as_much_longer_as_it_has_waited(log: FakeLog, clock: FakeClock) -> None:
    leases(log, clock).take("page")
    began_s, wishes = clock(), []
    second = leases(log, clock, lambda: log.values.clear() if clock() > began_s + 4 else None)
    ask = asking(log, clock)

    def find(wish: Wish) -> None:
        wishes.append(wish)
        ask(wish)

    found = second.take_or_find("page", find, limit_s=second.patience_s)
    assert isinstance(found, Lease)
    assert wishes[0].ttl_s == second.ttl_s
    assert wishes[-1].ttl_s == pytest.approx(second.ttl_s + clock() - began_s)


def test_nobody_waits_for_longer_than_the_limit(log: FakeLog, clock: FakeClock) -> None:
    leases(log, clock).take("page")
    began_s = clock()
    assert leases(log, clock).take_or_find("page", asking(log, clock), limit_s=2) is None
    assert clock() - began_s == pytest.approx(2)


def test_when_the_store_fails_while_waiting_the_page_is_made(log: FakeLog, clock: FakeClock) -> None:
    leases(log, clock).take("page")

    def fail() -> None:
        log.down = True

    found = leases(log, clock, fail).take_or_find("page", asking(log, clock), limit_s=5)
    assert isinstance(found, Lease)
    assert not found.is_known


def test_over_redis_one_of_many_makes_the_page(redis_url: str) -> None:
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        store = GuardedStore(open_store("pages", timeout_s=5))
        start = threading.Barrier(6)
        made: list[int] = []

        def find(wish: Wish) -> bytes | None:
            fetched = store.add_and_fetch(wish.key, wish.value, wish.ttl_s, ["page"], 0)
            assert fetched is not None
            wish.was_added, (page,), _ = fetched
            return page

        def request(number: int) -> bytes:
            mine = Leases(store)
            start.wait(20)
            found = mine.take_or_find("page", find, limit_s=20)
            if isinstance(found, Lease):
                with found:
                    made.append(number)
                    store.set("page", b"WPC", 60)
                return b"WPC"
            assert found is not None
            return found

        workers = [Worker(lambda number=number: request(number)) for number in range(6)]  # type: ignore[misc]
        assert [worker.result() for worker in workers] == [b"WPC"] * 6
        assert len(made) == 1
        store.close()
