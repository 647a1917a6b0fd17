"""Leader/followers: the thread that finds a task runs it (Schmidt et al., Pattern-Oriented Software Architecture 2).

Knows no HTTP and no sockets: a *source* is polled for tasks by one thread at a time, the leader, and tasks are run
by whoever finds them. Nothing is handed from thread to thread on the way, so nothing waits for a switch of the
interpreter lock. There is one thread more than there are slots, so that somebody can always poll.

The invariants, and what keeps each:

1. At most one thread polls. Leadership is either held by a thread that is not running a task, or it is the one
   token in `_baton`, which a thread lays down before it runs a task and whoever pops it takes over.
2. At most `size` tasks run. A task needs a slot popped from `_free`.
3. A queued task never waits beside a free slot without somebody on the way to it. That is the leader, who runs
   what is queued before it polls. When it has to poll with tasks left, for want of a slot, it says so (`_unserved`)
   and looks at the slots again; a thread gives its slot back, and then looks whether tasks were left. Nobody else
   takes tasks from a leader: two threads that run short ones wait for the interpreter lock half of the time.
4. While the leader runs a task, the standby watches; after `patience_s`, or at once when the task is known to
   block, it takes the baton and polls in the leader's place. No standby watches while nobody runs a task.
   Whoever takes the baton names itself `_leader` before it lays it down, so that a former leader who comes back
   leaves it alone. The seat of the standby is taken for one sleeping thread at a time, and before it is woken.
5. At most `compute_limit` tasks that compute run, but for those that have done so for long (`overdue`). They wait in
   a queue of their own, so that no other task waits behind them; 3 holds for it with a permit beside the slot.

list.append, list.pop, deque.append and deque.popleft are atomic, with the interpreter lock and without; the places
where a flag is set and another is read after it (dozing and baton, slot and unserved, idle and seat) are Dekker's
pattern.
`_lock` guards the number of threads and slots, which change only when a thread is started, lost or let go, the
counters of slots that are gone, and the choice of a thread for the seat, so that it does not end meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from . import process
from .slots import Slot
from .tasks import Permits, Source, Task, TaskQueue

logger = logging.getLogger("django_wsgiperf.server")

_IDLE_TICKS_BEFORE_DOZING = 4
_RELAXED_TICKS = 5
"""How many patiences a standby sleeps at most between two looks at a leader whose tasks are short."""


def _nothing() -> None:
    pass


class _Follower(threading.Thread):
    """A pool thread and the lock it sleeps on; the lock is held except for the moment of a wake-up."""

    def __init__(self, pool: ThreadPool, number: int) -> None:
        # Not a daemon: threads inherit that, and those that a view starts would be cut off when the process ends.
        super().__init__(name=f"wsgiperf-{number}", daemon=False)
        self.pool = pool
        self.ending = False
        """Set by the thread itself when a task has left it unfit for another."""
        self.seated = False
        """Somebody has taken the standby's seat for it; set before it is woken."""
        self.alarm = threading.Lock()
        self.alarm.acquire()

    def run(self) -> None:
        self.pool._live(self)

    def nudge(self) -> None:
        """Wake the thread, or let its next wait return at once."""
        with contextlib.suppress(RuntimeError):  # Somebody else has just done so.
            self.alarm.release()


class ThreadPool:
    """`size` slots for tasks and `size` + 1 threads that poll `source` and run what it finds.

    `patience_s` is how long a leader's task may take before the standby polls in its place."""

    def __init__(
        self,
        source: Source,
        size: int,
        *,
        patience_s: float = 0.001,
        on_thread_start: Callable[[], None] = _nothing,
        on_thread_end: Callable[[], None] = _nothing,
    ) -> None:
        self.size = size
        self.queue = TaskQueue()
        self.permits = Permits(size)
        self.promotions = 0
        self.slots: list[Slot] = [Slot(number) for number in range(size)]
        """All slots in use, those of detached and lost threads too."""
        self._past = Slot(-1)
        self._source = source
        self._patience_s = patience_s
        self._patience_ns = int(patience_s * 1e9)
        self._on_thread_start = on_thread_start
        self._on_thread_end = on_thread_end
        self._free = self.slots[::-1]
        self._baton: list[bool] = []
        self._seat = [True]
        self._standby: _Follower | None = None
        self._idle: list[_Follower] = []
        self._dozing = False
        self._leader: _Follower | None = None
        """Who took the baton last."""
        self._call_started_ns = 0
        """When the leader's task began; 0 when its leader is to be replaced at once."""
        self._unserved = False
        """The leader polls although tasks wait: those who give back a slot run them."""
        self._stopping = False
        self._lock = threading.Lock()
        self._threads: set[_Follower] = set()
        self._wanted_threads = size + 1
        self._thread_numbers = 0

    # -- for everybody

    @property
    def busy(self) -> int:
        """Slots that run a task now, detached and lost ones left out."""
        return self.size - len(self._free)

    @property
    def has_free_slot(self) -> bool:
        return bool(self._free)

    @property
    def can_compute(self) -> bool:
        """Whether a task that computes would be run now."""
        return bool(self._free) and self.permits.out < self.permits.limit

    @property
    def waiting(self) -> int:
        """Tasks in both queues."""
        return len(self.queue) + len(self.permits.queue)

    def overdue(self, started_before_ns: int) -> None:
        """Let tasks that have computed since `started_before_ns` go on without a permit: short ones wait for it.

        Any thread; times are of time.monotonic_ns()."""
        for slot in self.slots[:]:
            if slot.computes and slot.started_ns < started_before_ns:
                self.permits.give_back(slot)

    def counters(self) -> list[Slot]:
        """Every slot there is, and one for those there were: their sums never fall."""
        with self._lock:
            return [*self.slots, self._past]

    def start(self) -> None:
        """Start the threads; the first to come leads."""
        self._baton.append(True)
        with self._lock:
            for _ in range(self._wanted_threads):
                self._start_thread()

    def stop(self, timeout_s: float) -> bool:
        """End every thread that comes to rest within `timeout_s` seconds; True when all did."""
        self._stopping = True
        deadline = time.monotonic() + timeout_s
        while True:
            self._source.wake()
            with self._lock:
                threads = list(self._threads)
            for thread in threads:
                thread.nudge()
            if not threads:
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            threads[0].join(min(remaining, 0.05))

    def detach(self, slot: Slot) -> None:
        """Let the task in `slot` keep its thread, and put another thread and slot in their place."""
        with self._lock:
            if slot.detached or self._stopping:
                return
            slot.detached = True
            replacement = Slot(slot.number)
            self.slots.append(replacement)
            self._wanted_threads += 1
            self._start_thread()
            self._free.append(replacement)
        if slot.computes:
            self.permits.give_back(slot)
        # Tasks may be waiting for just this slot, and a blocked leader needs a successor.
        self._call_standby()
        self._source.wake()

    # -- threads

    def _start_thread(self) -> None:
        """With `_lock` held."""
        self._thread_numbers += 1
        thread = _Follower(self, self._thread_numbers)
        self._threads.add(thread)
        thread.start()

    def _live(self, me: _Follower) -> None:
        self._on_thread_start()
        try:
            while self._rest(me):
                self._lead(me)
                if me.ending:
                    return
        except BaseException:
            logger.critical("A pool thread died; this is a bug in django-wsgiperf", exc_info=True)
            raise
        finally:
            with self._lock:
                self._threads.discard(me)
            self._on_thread_end()

    def _rest(self, me: _Follower) -> bool:
        """Sleep until there is leadership to take; False when this thread is to end."""
        while not self._stopping:
            if not me.seated:
                if len(self._threads) > self._wanted_threads and self._let_go(me):
                    return False
                try:
                    self._seat.pop()
                except IndexError:
                    self._idle.append(me)
                    # Not if the standby left between the two lines above.
                    if not self._seat:
                        me.alarm.acquire()
                    with contextlib.suppress(ValueError):  # Woken by somebody who did not take this thread out.
                        self._idle.remove(me)
                    continue
            me.seated = False
            self._standby = me
            leads = self._watch(me)
            self._standby = None
            self._seat.append(True)
            if leads:
                return True
            self._call_standby()  # The seat's next, lest nobody watches: this thread may be about to end.
        return False

    def _let_go(self, me: _Follower) -> bool:
        with self._lock:
            if len(self._threads) <= self._wanted_threads or me.seated:
                return False
            self._threads.discard(me)
            return True

    def _watch(self, me: _Follower) -> bool:
        """Be the standby: True with the baton in hand, False when the pool stops or this thread is to end."""
        baton = self._baton
        quiet_ticks = 0
        # A look costs the leader a switch of the interpreter lock. While its tasks prove short, look less often; a new
        # standby, and so every promotion, begins at full attention again.
        tick_s = self._patience_s
        while not self._stopping:
            if len(self._threads) > self._wanted_threads:
                return False
            if baton:
                quiet_ticks = 0
                if time.monotonic_ns() - self._call_started_ns < self._patience_ns:
                    tick_s = min(tick_s * 1.25, self._patience_s * _RELAXED_TICKS)
                elif self._take_baton(me):
                    return True
            else:
                quiet_ticks += 1
                if quiet_ticks > _IDLE_TICKS_BEFORE_DOZING:
                    self._dozing = True
                    if not baton and not self._stopping:
                        me.alarm.acquire()
                    self._dozing = False
                    quiet_ticks = 0
                    continue
            me.alarm.acquire(timeout=tick_s)
        return False

    def _take_baton(self, me: _Follower) -> bool:
        try:
            self._baton.pop()
        except IndexError:
            return False
        self._leader = me
        self.promotions += 1
        return True

    def _lead(self, me: _Follower) -> None:
        """Poll and run tasks until another thread has taken over, or the pool stops."""
        queue, permits, baton, free, poll = self.queue, self.permits, self._baton, self._free, self._source.poll
        heavy = permits.queue
        while not self._stopping:
            while free and (queue or (heavy and permits.out < permits.limit)):
                slot = free.pop()
                try:
                    task = queue.take() if queue else permits.take(slot)
                except IndexError:
                    free.append(slot)
                    break
                slot.started_ns = now_ns = time.monotonic_ns()
                self._call_started_ns = 0 if task.blocks else now_ns
                baton.append(True)
                if task.blocks or self._dozing or self._seat:
                    self._call_standby()
                self._run(me, slot, task)
                # Whoever took the baton has said so before it lays it down again: what is there now is this thread's.
                leads = self._leader is me
                if leads:
                    try:
                        baton.pop()
                    except IndexError:
                        leads = False
                if not leads and (self._call_started_ns or me.ending or not self._take_baton(me)):
                    # Not in the handler above: the application would find our exception in sys.exc_info().
                    self._follow_up(me)
                    return
                if me.ending:
                    self._call_started_ns = 0
                    baton.append(True)
                    self._call_standby()
                    return
            if queue or heavy:
                self._unserved = True
                if free and (queue or permits.out < permits.limit):
                    continue
            try:
                poll()
            except Exception:
                logger.critical("The reactor failed; it goes on", exc_info=True)
                time.sleep(0.01)  # Not to spin, should the failure be lasting.
            self._unserved = False
        # The others come out of their sleep by stop(); leadership ends with the pool.

    def _call_standby(self) -> None:
        """Wake the standby; where there is none, an idle thread, which will take the seat."""
        standby = self._standby
        if standby is not None:
            standby.nudge()
            return
        while self._seat:
            with self._lock:
                try:
                    self._seat.pop()
                except IndexError:
                    return  # Somebody has just sat down.
                if self._idle:
                    with contextlib.suppress(IndexError):  # It has been woken otherwise.
                        chosen = self._idle.pop()
                        chosen.seated = True
                        chosen.nudge()
                        return
                self._seat.append(True)
            if not self._idle:
                return  # Whoever comes to rest next will find the seat empty.

    def _follow_up(self, me: _Follower) -> None:
        """Another thread leads by now: run what waits for a slot, then rest."""
        queue, permits, free = self.queue, self.permits, self._free
        heavy = permits.queue
        while (
            self._unserved
            and (queue or (heavy and permits.out < permits.limit))
            and not self._stopping
            and not me.ending
        ):
            try:
                slot = free.pop()
            except IndexError:
                return
            try:
                task = queue.take() if queue else permits.take(slot)
            except IndexError:
                free.append(slot)
                continue
            slot.started_ns = time.monotonic_ns()
            self._run(me, slot, task)

    def _run(self, me: _Follower, slot: Slot, task: Task) -> None:
        """Run `task`, then give the slot back. No exception leaves: a pool thread outlives every task."""
        slot.thread_id = threading.get_ident()
        slot.task = task
        try:
            task.run(slot)
        except BaseException:
            logger.critical("A task failed outside the application; this is a bug in django-wsgiperf", exc_info=True)
        slot.task = None
        if slot.computes:
            self.permits.give_back(slot)
        if slot.worn_out:
            slot.worn_out = False
            self._replace(me)
        if slot.detached:
            self._retire(slot)
        else:
            self._free.append(slot)

    def _replace(self, me: _Follower) -> None:
        """Let this thread end after its task, and another begin afresh."""
        me.ending = True
        with self._lock:
            self._threads.discard(me)
            if not self._stopping:
                self._start_thread()

    def _retire(self, slot: Slot) -> None:
        """A detached task has ended at last: its replacement stays, and one thread too many comes to its end."""
        with self._lock:
            self.slots.remove(slot)
            self._past.absorb(slot)
            self._wanted_threads -= 1
        # Whoever is woken looks at the numbers before it sleeps again.
        try:
            self._idle.pop().nudge()
        except IndexError:
            self._call_standby()


def _after_fork_in_child() -> None:
    if isinstance(threading.current_thread(), _Follower):
        process.go_astray()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
