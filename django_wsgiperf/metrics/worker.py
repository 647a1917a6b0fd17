"""The thread that sums records and writes the sums: ticks each second, writes each few seconds, ends with its process.

Where no thread may be started (uWSGI without threads) or none is wanted (tests), requests do the work in their own
thread when they are over, a bit of it at a time. Nothing of it is measured, and nothing of it raises into a request.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from django_wsgiperf.conf import MetricsSettings

from . import providers
from .aggregate import Aggregator
from .alike import Alike
from .keeping import Keeper
from .minute import Hit
from .modes import Mode
from .reading import Reader
from .record import Record, current
from .reports import report_of
from .stores.base import Store, StoreError
from .tally import OTHER, Tally
from .writer import Writer

logger = logging.getLogger("django_wsgiperf.metrics")

T = TypeVar("T")
TICK_S: Final = 1.0
CHUNK: Final = 500
"""Records that are summed in one go; between two of them other threads come round."""
_HITS_FACTOR: Final = 4
_INLINE: Final = 256
"""Without a thread, so many records wait until a request sums them."""


class Worker:
    """The queues of one process, and what empties them.

    `_turn` is held by the one that does the work. `_lock` guards the aggregator and the writer, and is not held while
    the store is written: when that hangs, requests sum what they can no longer queue. Appending to the queues needs no
    lock, and their lengths are looked at without: with n threads they may grow n - 1 past their bounds."""

    def __init__(
        self,
        settings: MetricsSettings,
        open_store: Callable[[MetricsSettings], Store],
        *,
        instance: str,
        host: str,
        mode: Mode = "thread",
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_start` is called by the thread when it begins."""
        self.settings = settings
        self.instance = instance
        self.host = host
        self.mode = mode
        self._keeper = Keeper(settings, open_store, owner=instance, clock=clock)
        self._clock = clock
        self._pause = pause
        self._on_start = on_start
        self._records: deque[Record] = deque()
        self._hits: deque[Hit] = deque()
        self._alike: dict[str | tuple[str, int], Alike] = {}
        """Hits that a server's leader tells of, by route, or by route and status where that is not 200."""
        self._max_records = settings.max_pending if mode != "off" else 0
        self._max_hits = self._max_records * _HITS_FACTOR
        self._wake_at = max(1, settings.max_pending // 4)
        self._dropped = 0
        self._dropped_told = 0
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._answered = threading.Condition()
        """Guards _asked and _done."""
        self._asked = 0
        self._done = 0
        self._succeeded = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        """Held by the one that starts the thread."""
        self._stopping = False
        self._ended = False
        self._end_kind = "stop"
        self.started_s = clock()
        self._aggregator = Aggregator(
            host=host,
            boot=instance.rsplit(":", 1)[-1],
            release=settings.release,
            max_routes=settings.max_routes,
            slow_samples=settings.slow_samples,
            n_plus_one=settings.n_plus_one_queries,
        )
        self._writer = Writer(self._aggregator, instance=instance, host=host, forget=self._keep_sums)
        self._past = Tally()
        """Of minutes that are written and forgotten, for cumulative()."""
        self._marked = False
        self._ticked = time.monotonic()
        self._next_write = time.monotonic() + random.uniform(0, settings.interval_s)
        self._cpu_ns = 0

    # -- the request path

    def put(self, record: Record) -> None:
        """A finished record. Drops it, and counts that, when too many wait."""
        records = self._records
        waiting = len(records)
        if waiting >= self._max_records:
            self._dropped += self.mode != "off"
            return
        records.append(record)
        # Else the thread comes soon.
        if waiting >= self._wake_at or self._thread is None:
            self._look_after(waiting)

    def put_hit(self, hit: Hit) -> None:
        """A hit of the page cache, as put()."""
        waiting = len(self._hits)
        if waiting >= self._max_hits:
            self._dropped += self.mode != "off"
            return
        self._hits.append(hit)
        self._look_after(waiting)

    def count_hit(self, route: str, status: int, body_bytes: int, duration_ns: int) -> None:
        """A hit of the page cache for a GET that waited for nobody. Only where `mode` is "thread" or "off": it never
        does the work itself. It is counted in the minute in which it is summed, a second later at most."""
        key = route if status == 200 else (route, status)
        alike = self._alike.get(key)
        if alike is None:
            alike = self._alike.setdefault(key, Alike(route, status))
            self._look_after(0)
        waiting = len(alike.tooks)
        if waiting >= self._max_hits:
            self._dropped += self.mode != "off"
            return
        alike.tooks.append(duration_ns)
        alike.sizes.append(body_bytes)
        if waiting == self._max_hits // 2:
            self._wake.set()

    def _look_after(self, waiting: int) -> None:
        """See that somebody will come for what waits."""
        if self.mode == "thread":
            if self._thread is None:
                self.start()
            elif waiting >= self._wake_at:
                if not self._wake.is_set():
                    self._wake.set()
                elif waiting >= 2 * self._wake_at:
                    self._sum_here()  # The thread does not come: it is in the store.
        elif waiting >= _INLINE or (self.mode == "requests" and time.monotonic() - self._ticked >= TICK_S):
            self._work_here()

    def _sum_here(self) -> None:
        """Sum a piece of what waits, in a request's thread, unless another does."""
        if self._lock.acquire(blocking=False):
            token = current.set(None)
            try:
                now_s = self._clock()
                self._empty(self._records, self._aggregator.add, now_s, CHUNK)
                self._empty(self._hits, self._aggregator.add_hits, now_s, CHUNK)
                self._writer.give_up(now_s)
            finally:
                current.reset(token)
                self._lock.release()

    def _work_here(self) -> None:
        if self._turn.acquire(blocking=False):
            try:
                self._tick()
            finally:
                self._turn.release()

    # -- the thread

    def start(self) -> None:
        """Start the thread if there is none, and one is wanted."""
        if self.mode != "thread" or self._thread is not None or self._ended:
            return
        if self._starting.acquire(blocking=False):  # Else somebody does, who may be further down this very stack.
            try:
                if self._thread is None and not self._ended:
                    thread = threading.Thread(target=self._run, name="wsgiperf-metrics", daemon=True)
                    thread.start()
                    self._thread = thread
            finally:
                self._starting.release()

    def _run(self) -> None:
        try:
            self._on_start()
        except Exception:
            logger.warning("Other processes cannot ask this one what runs in it", exc_info=True)
        while not self._stopping:
            self._wake.wait(TICK_S)
            self._wake.clear()
            with self._turn:
                self._tick()
        if self._ended:
            with self._turn:
                self._tick(last=True)

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Sum and write all that has come in until now; False when that failed, or takes longer."""
        if self.mode == "off":
            return True
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            with self._answered:
                self._asked += 1
                wanted = self._asked
                self._wake.set()
                done = self._answered.wait_for(lambda: self._done >= wanted, timeout_s)
                return done and self._succeeded
        if not self._turn.acquire(timeout=timeout_s):
            return False
        try:
            return self._tick(force=True)
        finally:
            self._turn.release()

    def shutdown(self, timeout_s: float, *, kind: str = "stop") -> None:
        """Write all there is for the last time and end the thread, within `timeout_s`."""
        if self._ended:
            return
        self._ended, self._end_kind = True, kind
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._stopping = True
            self._wake.set()
            thread.join(timeout_s)
            if thread.is_alive():
                logger.warning("The metrics of the last minute could not be written within %g s", timeout_s)
        elif (self._marked or self._records or self._hits or self._alike) and self._turn.acquire(timeout=timeout_s):
            try:
                self._tick(last=True)
            finally:
                self._turn.release()

    def stop(self) -> None:
        """End the thread without another word."""
        self._stopping = True
        self._wake.set()

    # -- the work; with _turn held

    def _tick(self, *, force: bool = False, last: bool = False) -> bool:
        """A turn: sum, and when it is time write. Gives whether what had to be written is. Never raises."""
        token = current.set(None)
        begin_ns = time.thread_time_ns()
        with self._answered:
            asked = self._asked
        succeeded = True
        try:
            with self._lock:
                self._sum()
            now = time.monotonic()
            if force or last or asked > self._done or now >= self._next_write:
                self._next_write = now + self.settings.interval_s * random.uniform(0.9, 1.1)
                succeeded = self._write(last=last)
                if succeeded and not last:
                    self._keeper.roll_up_in_time(now)
        except Exception:
            succeeded = False
            self._keeper.failed("an error of its own", exc_info=True)
        finally:
            self._cpu_ns += time.thread_time_ns() - begin_ns
            current.reset(token)
            with self._answered:
                if asked > self._done:
                    self._done, self._succeeded = asked, succeeded
                    self._answered.notify_all()
        return succeeded

    def _sum(self) -> None:
        now_s = self._clock()
        self._writer.watch_clock(now_s)
        if not self._marked:
            self._marked = True
            self._mark("start")
        self._gauge(now_s)
        # What is there now and no more: with requests coming in, this would not end.
        self._empty(self._records, self._aggregator.add, now_s, len(self._records))
        self._empty(self._hits, self._aggregator.add_hits, now_s, len(self._hits))
        for alike in list(self._alike.values()):
            self._aggregator.add_alike(alike, now_s)
        dropped = self._dropped
        if dropped != self._dropped_told:
            minute = self._aggregator.minute(now_s)
            minute.tally.dropped += dropped - self._dropped_told
            minute.changed += 1
            self._dropped_told = dropped

    def _empty(self, queue: deque[T], add: Callable[[list[T], float], None], now_s: float, left: int) -> None:
        """Sum `left` of what waits, with _lock held."""
        while left > 0:
            chunk = [queue.popleft() for _ in range(min(left, CHUNK, len(queue)))]
            if not chunk:
                return
            left -= len(chunk)
            add(chunk, now_s)
            if left > 0 and self.mode == "thread" and not self._stopping:
                self._pause(0.001)

    def _gauge(self, now_s: float) -> None:
        """What the server tells of its threads and its queue."""
        now = time.monotonic()
        passed_s, self._ticked = min(now - self._ticked, 5 * TICK_S), now
        load = providers.load()
        threads = load.get("threads")
        if not threads:
            return
        minute = self._aggregator.minute(now_s)
        minute.tally.thread_ns += int(threads * passed_s * 1e9)
        minute.tally.queue_peak = max(minute.tally.queue_peak, load.get("queue_peak", load.get("queued", 0)) or 0)
        minute.changed += 1

    def _mark(self, kind: str) -> None:
        now_s = self._clock()
        minute = self._aggregator.minute(now_s)
        minute.tally.marks.append((round(now_s, 1), kind, self.settings.release, self.instance))
        minute.changed += 1

    def _write(self, *, last: bool) -> bool:
        with self._lock:
            if last:
                self._mark(self._end_kind)
            prepared = self._writer.prepare(self._clock(), last=last)
        try:
            store = self.store()
            if prepared:
                store.write([each.row for each in prepared])
            with self._lock:
                self._writer.confirm(prepared)
            if last:
                store.remove(self.instance)
            else:
                store.report(report_of(self, self._clock()))
        except StoreError as error:
            self._keeper.failed(str(error))
            with self._lock:
                self._writer.give_up(self._clock())
            return False
        self._keeper.written()
        return True

    def _keep_sums(self, tally: Tally) -> None:
        self._past.merge(tally, self.settings.max_routes + 1)
        self._past.marks.clear()

    def store(self) -> Store:
        """The store that this process writes to and reads from. Raises StoreError."""
        return self._keeper.store()

    def reader(self) -> Reader:
        """What reads the store, and remembers what it has decoded. Raises StoreError."""
        return self._keeper.reader()

    # -- numbers

    def cumulative(self, timeout_s: float = -1) -> Tally:
        """All that was counted since the start, without samples.

        Raises TimeoutError when the store takes longer than `timeout_s` with what is being written; -1 waits for it."""
        total = Tally()
        if not self._lock.acquire(timeout=timeout_s):
            raise TimeoutError
        try:
            total.merge(self._past, self.settings.max_routes + 1)
            for minute in self._writer.pending():
                total.merge(minute.tally, self.settings.max_routes + 1)
        finally:
            self._lock.release()
        return total

    def tell_apart(self, routes: Iterable[str]) -> None:
        """These have sums already, in the place that this process takes: they are among the MAX_ROUTES, whichever come.

        Else each process that took the place would add as many, and the place would be full one day."""
        names = [name for name in routes if name != OTHER]
        with self._lock:
            self._aggregator.routes.update(names)

    @property
    def records(self) -> int:
        """Requests that were counted."""
        return self._aggregator.records

    def status(self) -> dict[str, Any]:
        """How the metrics fare in this process: what waits, what was lost, the last writing, and what it all costs."""
        return {
            "mode": self.mode,
            "pending": len(self._records)
            + len(self._hits)
            + sum(len(alike.tooks) for alike in list(self._alike.values())),
            "dropped": self._dropped,
            "given_up": self._writer.given_up,
            "damaged": self._keeper.unread.damaged,
            "newer": self._keeper.unread.newer,
            "minutes": self._writer.waiting,
            "records": self._aggregator.records,
            "routes": len(self._aggregator.routes),
            "routes_other": len(self._aggregator.overflow),
            "last_flush_s": self._keeper.last_flush_s,
            "last_error": self._keeper.last_error,
            "rollup_error": self._keeper.rollup_error,
            "aggregate_cpu_s": self._cpu_ns / 1e9,
            "store": self.settings.store,
        }
