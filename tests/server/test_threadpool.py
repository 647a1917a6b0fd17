"""The invariants of the leader/followers pool, with a source and tasks that tell what happens."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_wsgiperf.server.slots import Slot
from django_wsgiperf.server.threadpool import ThreadPool

from .conftest import eventually


class Source:
    """Hands over what is submitted, and notices two pollers at once."""

    def __init__(self) -> None:
        self.pool: ThreadPool
        self.pending: list[Any] = []
        self.event = threading.Event()
        self.poll_s = 0.02
        self.polling = 0
        self.pollers_max = 0
        self.fail = 0

    def submit(self, task: Any) -> None:
        self.pending.append(task)
        self.event.set()

    def poll(self) -> None:
        self.polling += 1
        self.pollers_max = max(self.pollers_max, self.polling)
        try:
            self.event.wait(self.poll_s)
            self.event.clear()
            if self.fail:
                self.fail -= 1
                raise OSError("the reactor failed")
            while self.pending:
                self.pool.queue.append(self.pending.pop(0))
        finally:
            self.polling -= 1

    def wake(self) -> None:
        self.event.set()


class Task:
    """Runs `work`, and counts how many run at once."""

    running = 0
    running_max = 0
    lock = threading.Lock()

    def __init__(self, work: Any = None, blocks: bool = False) -> None:
        self.work = work or (lambda slot: None)
        self.blocks = blocks
        self.computes = False
        self.done = threading.Event()
        self.thread = ""

    def run(self, slot: Slot) -> None:
        self.thread = threading.current_thread().name
        with Task.lock:
            Task.running += 1
            Task.running_max = max(Task.running_max, Task.running)
        try:
            self.work(slot)
        finally:
            with Task.lock:
                Task.running -= 1
            self.done.set()


class Running:
    def __init__(self, size: int, patience_s: float = 0.001) -> None:
        self.source = Source()
        self.started: list[str] = []
        self.ended: list[str] = []
        Task.running = Task.running_max = 0
        self.pool = self.source.pool = ThreadPool(
            self.source,
            size,
            patience_s=patience_s,
            on_thread_start=lambda: self.started.append(threading.current_thread().name),
            on_thread_end=lambda: self.ended.append(threading.current_thread().name),
        )
        self.pool.start()

    def submit(self, task: Task) -> Task:
        self.source.submit(task)
        return task

    def is_whole(self) -> bool:
        pool = self.pool
        return len(pool._free) == pool.size == len(pool.slots) and len(pool._threads) == pool.size + 1

    def is_at_rest(self) -> bool:
        """One thread leads, one watches or its seat is free, all others sleep, each listed once."""
        pool = self.pool
        idle, standby = pool._idle[:], pool._standby
        awake = {pool._leader, standby} - {None}
        return (
            bool(pool._seat) == (standby is None)
            and len(set(idle)) == len(idle) == pool.size + 1 - len(awake)
            and not awake & set(idle)
        )


@pytest.fixture
def pool_of() -> Iterator[Any]:
    made: list[Running] = []

    def make(size: int, **options: Any) -> Running:
        made.append(Running(size, **options))
        return made[-1]

    yield make
    for running in made:
        assert running.pool.stop(20), "a thread did not end"
        assert running.source.pollers_max <= 1, "two threads polled at once"
        eventually(lambda running=running: sorted(running.started) == sorted(running.ended), "every thread ended once")


@pytest.fixture
def forced_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_there_is_one_thread_more_than_slots(pool_of: Any) -> None:
    running = pool_of(3)
    eventually(lambda: len(running.started) == 4, "four threads started")


def test_at_most_size_tasks_run_and_all_do(pool_of: Any) -> None:
    running = pool_of(3)
    gate = threading.Event()
    tasks = [running.submit(Task(lambda slot: gate.wait(20))) for _ in range(10)]
    eventually(lambda: Task.running == 3, "every slot is taken")
    eventually(lambda: len(running.pool.queue) == 7, "the leader goes on queueing with every slot taken")
    gate.set()
    assert all(task.done.wait(20) for task in tasks)
    assert Task.running_max == 3
    eventually(running.is_whole, "all slots are free")


@pytest.mark.parametrize("blocks", [False, True], ids=["unknown", "known to block"])
def test_standby_polls_while_the_leader_is_blocked(pool_of: Any, blocks: bool) -> None:
    running = pool_of(2)
    gate = threading.Event()
    blocked = running.submit(Task(lambda slot: gate.wait(20), blocks=blocks))
    eventually(lambda: Task.running == 1, "it runs")
    quick = running.submit(Task())
    assert quick.done.wait(20)
    assert quick.thread != blocked.thread
    gate.set()


def test_dozing_standby_wakes(pool_of: Any) -> None:
    running = pool_of(1)
    eventually(lambda: running.pool._dozing, "with nothing to do the standby dozes")
    gate = threading.Event()
    running.submit(Task(lambda slot: gate.wait(20)))
    eventually(lambda: running.pool.promotions >= 2, "it has taken over")
    gate.set()


def test_leader_who_comes_back_leaves_leadership_where_it_is(pool_of: Any) -> None:
    running = pool_of(3, patience_s=60)
    first_gate, second_gate = threading.Event(), threading.Event()
    first = running.submit(Task(lambda slot: first_gate.wait(20), blocks=True))
    eventually(lambda: Task.running == 1, "the first leader is blocked")
    second = running.submit(Task(lambda slot: second_gate.wait(20)))
    eventually(lambda: Task.running == 2, "the second leader runs a task")
    promotions = running.pool.promotions
    first_gate.set()
    assert first.done.wait(20)
    eventually(lambda: any(thread.name == first.thread for thread in running.pool._idle[:]), "it sleeps")
    second_gate.set()
    assert second.done.wait(20)
    third = running.submit(Task())
    assert third.done.wait(20)
    assert third.thread == second.thread != first.thread
    assert running.pool.promotions == promotions


def test_tasks_left_for_want_of_a_slot_are_run_by_whoever_gives_one_back(pool_of: Any) -> None:
    running = pool_of(1)
    gate = threading.Event()
    running.submit(Task(lambda slot: gate.wait(20)))
    eventually(lambda: Task.running == 1, "the only slot is taken")
    running.source.poll_s = 60
    left = [running.submit(Task()) for _ in range(3)]
    eventually(lambda: running.pool._unserved and running.source.polling == 1, "the leader polls beside them")
    gate.set()
    assert all(task.done.wait(20) for task in left)


def test_stray_wake_up_leaves_a_sleeping_thread_listed_once(pool_of: Any) -> None:
    running = pool_of(3)
    eventually(running.is_at_rest, "nothing to do")
    for _ in range(20):
        for thread in running.pool._idle[:]:
            thread.nudge()
    eventually(running.is_at_rest, "each sleeps again")


def test_standby_that_ends_leaves_its_seat_to_another(pool_of: Any) -> None:
    running = pool_of(3)
    for _ in range(20):
        eventually(running.is_at_rest, "nothing to do")
        gate = threading.Event()

        def detach(slot: Slot, gate: threading.Event = gate) -> None:
            running.pool.detach(slot)
            gate.wait(20)

        tasks = [running.submit(Task(detach)) for _ in range(3)]
        eventually(lambda: len(running.pool.slots) == 6, "three more threads")
        gate.set()
        assert all(task.done.wait(20) for task in tasks)
        eventually(running.is_whole, "three threads have ended")


@pytest.mark.usefixtures("forced_switches")
@pytest.mark.parametrize("size", [1, 2, 5])
def test_leadership_is_never_lost_among_tasks_that_block(pool_of: Any, size: int) -> None:
    running = pool_of(size, patience_s=60)  # Only what is said of a task promotes anybody.
    for _ in range(40):
        tasks = [
            running.submit(Task(lambda slot: threading.Event().wait(0.0003), blocks=True)) for _ in range(2 * size)
        ]
        tasks += [running.submit(Task()) for _ in range(size)]
        assert all(task.done.wait(20) for task in tasks), "a task waits for ever"
    eventually(running.is_whole, "all slots are free")
    eventually(running.is_at_rest, "no thread is lost, none is listed twice")


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
def test_task_that_raises_costs_no_thread(pool_of: Any, error: BaseException) -> None:
    running = pool_of(1)

    def fail(slot: Slot) -> None:
        raise error

    for _ in range(5):
        assert running.submit(Task(fail)).done.wait(20)
    assert running.submit(Task()).done.wait(20)
    assert not running.ended


def test_source_that_fails_is_polled_again(pool_of: Any) -> None:
    running = pool_of(1)
    running.source.fail = 3
    assert running.submit(Task()).done.wait(20)


def test_detached_task_leaves_the_pool_whole(pool_of: Any) -> None:
    running = pool_of(1)
    gate = threading.Event()

    def detach(slot: Slot) -> None:
        running.pool.detach(slot)
        running.pool.detach(slot)
        gate.wait(20)

    long = running.submit(Task(detach))
    eventually(lambda: len(running.pool.slots) == 2, "there is another slot")
    assert all(running.submit(Task()).done.wait(20) for _ in range(5))
    gate.set()
    assert long.done.wait(20)
    eventually(running.is_whole, "one thread too many has ended")


def test_worn_out_thread_is_replaced(pool_of: Any) -> None:
    running = pool_of(2)

    def wear(slot: Slot) -> None:
        slot.worn_out = True

    worn = running.submit(Task(wear))
    assert worn.done.wait(20)
    eventually(lambda: worn.thread in running.ended, "the thread ends")
    eventually(running.is_whole, "another has taken its place")
    assert running.submit(Task()).done.wait(20)


def test_young_first_under_overload(pool_of: Any) -> None:
    running = pool_of(1)
    gate = threading.Event()
    order: list[int] = []
    running.submit(Task(lambda slot: gate.wait(20)))
    eventually(lambda: Task.running == 1, "it runs")
    tasks = [running.submit(Task(lambda slot, n=n: order.append(n))) for n in range(4)]
    eventually(lambda: len(running.pool.queue) == 4, "all are queued")
    running.pool.queue.newest_first = True
    gate.set()
    assert all(task.done.wait(20) for task in tasks)
    assert order == [3, 2, 1, 0]


@pytest.mark.parametrize("seed", range(8))
def test_random_schedules_lose_no_task_no_slot_and_no_thread(pool_of: Any, forced_switches: None, seed: int) -> None:
    chance = random.Random(seed)
    size = chance.choice([1, 2, 3, 5])
    running = pool_of(size, patience_s=chance.choice([0.0001, 0.001]))
    tasks: list[Task] = []

    def work(kind: str) -> Any:
        def run(slot: Slot) -> None:
            slot.requests += 1
            if kind == "block":
                threading.Event().wait(0.003)
            elif kind == "detach":
                running.pool.detach(slot)
                threading.Event().wait(0.002)
            elif kind == "wear":
                slot.worn_out = True
            elif kind == "raise":
                raise ValueError(kind)
            elif kind == "detach and wear":
                running.pool.detach(slot)
                slot.worn_out = True

        return run

    kinds = ["quick", "quick", "quick", "block", "detach", "wear", "raise", "detach and wear"]
    for _ in range(300):
        kind = chance.choice(kinds)
        tasks.append(running.submit(Task(work(kind), blocks=chance.random() < 0.3)))
        if chance.random() < 0.05:
            assert tasks[-1].done.wait(20), "a task waits for ever"
    for task in tasks:
        assert task.done.wait(20), "a task waits for ever"
    eventually(running.is_whole, "slots and threads are as at the start")
    eventually(running.is_at_rest, "no thread is lost, none is listed twice")
    assert sum(slot.requests for slot in running.pool.counters()) == 300, "what detached slots counted is kept"


class TestComputing:
    """Tasks that compute wait for a permit beside the slot."""

    def submit(self, running: Running, tasks: list[Task]) -> None:
        for task in tasks:
            task.blocks = task.computes = True
            running.pool.permits.queue.append(task)
        running.source.wake()

    def test_no_more_than_the_limit_run_at_once(self, pool_of: Any) -> None:
        running = pool_of(8)
        running.pool.permits.limit = 2
        seen: list[int] = []
        tasks = [Task(lambda slot: seen.append(running.pool.permits.out)) for _ in range(200)]
        self.submit(running, tasks)
        eventually(lambda: all(task.done.is_set() for task in tasks), "all have run")
        assert max(seen) <= 2
        eventually(lambda: running.pool.permits.out == 0, "every permit is back")

    def test_others_do_not_wait_behind_them(self, pool_of: Any) -> None:
        running = pool_of(4)
        running.pool.permits.limit = 1
        gate = threading.Event()
        held = [Task(lambda slot: gate.wait(10)) for _ in range(3)]
        self.submit(running, held)
        other = Task()
        running.source.submit(other)
        try:
            assert other.done.wait(5)
            assert not any(task.done.is_set() for task in held)
            assert running.pool.permits.out == 1
        finally:
            gate.set()
        eventually(lambda: all(task.done.is_set() for task in held), "all have run in the end")

    def test_one_that_computes_for_long_keeps_short_ones_no_longer(self, pool_of: Any) -> None:
        running = pool_of(4)
        running.pool.permits.limit = 1
        gate = threading.Event()
        long, short = Task(lambda slot: gate.wait(10)), Task()
        self.submit(running, [long])
        eventually(lambda: running.pool.permits.out == 1, "it runs")
        self.submit(running, [short])
        assert not short.done.wait(0.05)
        running.pool.overdue(time.monotonic_ns())
        running.source.wake()
        try:
            assert short.done.wait(5)
            assert not long.done.is_set()
        finally:
            gate.set()
        eventually(lambda: running.pool.permits.out == 0, "no permit is given back twice")

    def test_permit_of_a_detached_task_is_free_again(self, pool_of: Any) -> None:
        running = pool_of(2)
        running.pool.permits.limit = 1
        gate = threading.Event()

        def stream(slot: Slot) -> None:
            running.pool.detach(slot)
            gate.wait(10)

        streaming, other = Task(stream), Task()
        self.submit(running, [streaming, other])
        try:
            assert other.done.wait(5)
        finally:
            gate.set()
        eventually(lambda: running.pool.permits.out == 0, "no permit is given back twice")

    @pytest.mark.usefixtures("forced_switches")
    def test_permits_hold_under_a_storm_of_switches(self, pool_of: Any) -> None:
        running = pool_of(6)
        over: list[int] = []
        chance = random.Random(7)

        def work(slot: Slot) -> None:
            if running.pool.permits.out > 4:
                over.append(running.pool.permits.out)
            sum(range(chance.randrange(200)))

        running.pool.permits.limit = 3
        heavy, light = [Task(work) for _ in range(300)], [Task() for _ in range(300)]
        for number, (one, other) in enumerate(zip(heavy, light, strict=True)):
            self.submit(running, [one])
            running.source.submit(other)
            if number % 25 == 0:
                running.pool.permits.limit = 2 + number % 3
        eventually(lambda: all(task.done.is_set() for task in heavy + light), "all have run")
        assert not over
        eventually(lambda: running.pool.permits.out == 0, "every permit is back")
        eventually(running.is_whole, "all slots are free")
