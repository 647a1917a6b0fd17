"""The memory cache keeps its bounds and its books whatever happens, and keeps what is asked for again."""

from __future__ import annotations

import ctypes
import random
import threading
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from django_wsgiperf.cache.memory import NODE_BYTES, MemoryCache

from .fakes import Worker, eventually, hasty_interpreter


class Page:
    """Something that is told from its equals."""


def consistent(cache: MemoryCache[Any]) -> None:
    """The line, the dict and the numbers tell the same, and the bounds hold."""
    listed = list(cache)
    backwards = []
    node = cache._ring.older
    while node is not cache._ring:
        backwards.append(node.key)
        node = node.older
    assert [key for key, _, _ in listed] == backwards[::-1]
    assert {key for key, _, _ in listed} == set(cache._nodes)
    assert len(listed) == len(cache._nodes)
    numbers = cache.numbers()
    assert numbers.bytes == sum(charge for _, _, charge in listed)
    assert numbers.bytes <= cache.max_bytes
    assert numbers.entries == len(listed) <= cache.max_entries
    assert cache._hand is cache._ring or cache._nodes[cache._hand.key] is cache._hand


def test_a_value_is_found_until_it_is_discarded() -> None:
    cache: MemoryCache[Page] = MemoryCache(10_000, 10)
    page = Page()
    assert cache.get("a") is None
    assert cache.put("a", page, 100)
    assert cache.get("a") is page
    assert cache.discard("a")
    assert not cache.discard("a")
    assert cache.get("a") is None
    consistent(cache)


def test_discarding_what_was_judged_spares_what_came_meanwhile() -> None:
    cache: MemoryCache[Page] = MemoryCache(10_000, 10)
    old, new = Page(), Page()
    cache.put("a", old, 100)
    cache.put("a", new, 100)
    assert not cache.discard("a", old)
    assert cache.get("a") is new


def test_what_was_asked_for_outlives_what_was_not() -> None:
    cache: MemoryCache[int] = MemoryCache(1_000_000, 4)
    for number in range(4):
        cache.put(str(number), number, 1)
    assert (cache.get("0"), cache.get("2")) == (0, 2)
    for number in range(4, 6):
        cache.put(str(number), number, 1)
    assert [key for key, _, _ in cache] == ["0", "2", "4", "5"]


def test_a_peek_is_no_use() -> None:
    cache: MemoryCache[int] = MemoryCache(1_000_000, 2)
    cache.put("0", 0, 1)
    cache.put("1", 1, 1)
    assert cache.peek("0") == 0
    cache.put("2", 2, 1)
    assert cache.peek("0") is None


def test_pages_asked_for_once_do_not_drive_out_the_popular() -> None:
    cache: MemoryCache[int] = MemoryCache(10_000_000, 100)
    popular = [f"popular-{number}" for number in range(50)]
    for key in popular:
        cache.put(key, 0, 1)
    for number in range(10_000):
        for key in (popular[number % 50], popular[(number * 7) % 50]):
            assert cache.get(key) is not None
        cache.put(f"once-{number}", 0, 1)


def test_a_value_too_large_is_refused_and_takes_its_predecessor_with_it() -> None:
    cache: MemoryCache[str] = MemoryCache(80_000, 10)
    cache.put("a", "small", 10)
    assert not cache.put("a", "large", 10_001)
    assert cache.get("a") is None
    assert cache.numbers().refusals == 1
    assert not MemoryCache[str](1_000, 10, max_value_bytes=1_000).put("a", "all of it and the key", 1_000)


def test_large_values_make_room_for_themselves() -> None:
    cache: MemoryCache[int] = MemoryCache(20 * (100 + NODE_BYTES), 1_000, max_value_bytes=10**6)
    for number in range(20):
        cache.put(str(number), number, 90)
    cache.put("large", 0, 10 * (100 + NODE_BYTES))
    consistent(cache)
    assert cache.get("large") == 0
    assert 8 <= len(cache) <= 11


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(0, 10), (10, 0), (-1, 1)])
def test_a_cache_that_could_hold_nothing_is_a_mistake(max_bytes: int, max_entries: int) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        MemoryCache(max_bytes, max_entries)


def test_what_is_charged_is_what_the_cache_takes() -> None:
    for count in (1_000, 6_000, 11_000):
        keys = [f"{number:032x}" for number in range(count)]
        cache: MemoryCache[None] = MemoryCache(10**9, 10**6)
        tracemalloc.start()
        try:
            for key in keys:
                # A key of its own, as every request makes one.
                cache.put(key[:1] + key[1:], None, 0)
            taken = tracemalloc.get_traced_memory()[0] / count
        finally:
            tracemalloc.stop()
        charged = cache.numbers().bytes / count
        assert taken <= charged <= 2 * taken


class MemoryMachine(RuleBasedStateMachine):
    """Any sequence of calls, against a dict, and against SIEVE as its authors wrote it down."""

    @initialize(max_entries=st.integers(1, 5), max_bytes=st.integers(1, 2_000))
    def begin(self, max_entries: int, max_bytes: int) -> None:
        self.cache: MemoryCache[Page] = MemoryCache(max_bytes, max_entries, max_value_bytes=max_bytes // 2)
        self.values: dict[str, Page] = {}

    @rule(key=st.sampled_from("abcdefgh"), size=st.integers(0, 700))
    def put(self, key: str, size: int) -> None:
        page = Page()
        before = self.cache.numbers()
        kept = self.cache.put(key, page, size)
        fits = size <= self.cache.max_value_bytes and size + 1 + NODE_BYTES <= self.cache.max_bytes
        assert kept == fits
        if kept:
            self.values[key] = page
            assert self.cache.peek(key) is page
        else:
            self.values.pop(key, None)
            assert self.cache.peek(key) is None
            assert self.cache.numbers().evictions == before.evictions

    @rule(key=st.sampled_from("abcdefgh"))
    def get(self, key: str) -> None:
        found = self.cache.get(key)
        assert found is None or found is self.values[key]

    @rule(key=st.sampled_from("abcdefgh"))
    def discard(self, key: str) -> None:
        was_there = self.cache.peek(key) is not None
        assert self.cache.discard(key) == was_there
        assert self.cache.peek(key) is None

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert len(self.cache) == 0
        assert self.cache.numbers().bytes == 0

    @invariant()
    def books(self) -> None:
        if hasattr(self, "cache"):
            consistent(self.cache)


TestMemoryMachine = MemoryMachine.TestCase


class Sieve:
    """Algorithm 1 of the paper, on a list: newest first, the hand is an index."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.line: list[str] = []
        self.visited: dict[str, bool] = {}
        self.hand: str | None = None

    def use(self, key: str) -> bool:
        if key in self.visited:
            self.visited[key] = True
            return True
        if len(self.line) == self.capacity:
            at = self.line.index(self.hand) if self.hand is not None else len(self.line) - 1
            while self.visited[self.line[at]]:
                self.visited[self.line[at]] = False
                at = at - 1 if at > 0 else len(self.line) - 1
            victim = self.line.pop(at)
            del self.visited[victim]
            self.hand = self.line[at - 1] if at > 0 else None
        self.line.insert(0, key)
        self.visited[key] = False
        return False


@given(st.integers(1, 6), st.lists(st.sampled_from("abcdefghij"), max_size=80))
def test_it_decides_as_the_paper_does(capacity: int, uses: list[str]) -> None:
    paper = Sieve(capacity)
    cache: MemoryCache[int] = MemoryCache(10**6, capacity)
    for key in uses:
        found = cache.get(key) is not None
        assert found == paper.use(key)
        if not found:
            cache.put(key, 0, 1)
        assert [each for each, _, _ in cache] == paper.line[::-1]


def test_it_hits_more_often_than_lru_where_many_pages_are_asked_for_once() -> None:
    chance = random.Random(1)
    uses = [f"{int(chance.paretovariate(0.7))}" for _ in range(30_000)]
    cache: MemoryCache[int] = MemoryCache(10**8, 200)
    lru: OrderedDict[str, None] = OrderedDict()
    hits = lru_hits = 0
    for key in uses:
        if cache.get(key) is not None:
            hits += 1
        else:
            cache.put(key, 0, 1)
        if key in lru:
            lru.move_to_end(key)
            lru_hits += 1
        else:
            lru[key] = None
            if len(lru) > 200:
                lru.popitem(last=False)
    assert hits > lru_hits


def test_threads_that_do_everything_at_once_leave_the_books_right() -> None:
    cache: MemoryCache[tuple[str, int]] = MemoryCache(20 * (NODE_BYTES + 500), 30, max_value_bytes=5_000)
    start = threading.Barrier(6)

    def work(seed: int) -> int:
        chance = random.Random(seed)
        start.wait(20)
        for _ in range(1_500):
            key = str(chance.randrange(60))
            dice = chance.random()
            if dice < 0.6:
                found = cache.get(key)
                assert found is None or found[0] == key
            elif dice < 0.9:
                cache.put(key, (key, seed), chance.randrange(1, 3_000))
            elif dice < 0.99:
                cache.discard(key, cache.peek(key))
            else:
                cache.numbers()
        return seed

    with hasty_interpreter():
        workers = [Worker(lambda seed=seed: work(seed)) for seed in range(6)]  # type: ignore[misc]
        assert [worker.result(60) for worker in workers] == list(range(6))
    consistent(cache)
    assert cache.numbers().evictions > 0


def test_a_page_made_anew_is_never_missing_meanwhile() -> None:
    cache: MemoryCache[int] = MemoryCache(100_000, 10)
    cache.put("a", 0, 100)
    done = threading.Event()

    def replace() -> None:
        for number in range(3_000):
            cache.put("a", number, 100 + number % 7)
        done.set()

    with hasty_interpreter():
        writer = Worker(replace)
        while not done.is_set():
            assert cache.get("a") is not None
        writer.result()


class Stopped(BaseException):
    """Comes from outside, in any line."""


def test_a_thread_interrupted_in_any_line_leaves_the_books_right() -> None:
    cache: MemoryCache[int] = MemoryCache(10 * (NODE_BYTES + 500), 8, max_value_bytes=5_000)
    running = threading.Event()

    def work() -> None:
        chance = random.Random()
        try:
            running.set()
            while True:
                key = str(chance.randrange(20))
                cache.get(key)
                cache.put(key, 0, chance.randrange(1, 2_000))
                cache.discard(str(chance.randrange(20)))
        except Stopped:
            pass

    for _ in range(150):
        running.clear()
        worker = Worker(work)
        assert running.wait(20)
        _interrupt(worker)
        worker.result()
        assert not cache._lock.locked()
        consistent(cache)


def _interrupt(worker: Worker[None]) -> None:
    raise_in: Callable[..., int] = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert worker.ident is not None
    raise_in(ctypes.c_ulong(worker.ident), ctypes.py_object(Stopped))
    eventually(lambda: not worker.is_alive())
