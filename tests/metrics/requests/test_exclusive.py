"""Times exclude each other and add up, however instruments nest, whatever fails inside, and whoever works beside."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from django.core.cache import caches
from django.db.backends.utils import CursorWrapper
from django.template import engines
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_wsgiperf.metrics import (
    instruments,
    instruments_cache,
    instruments_database,
    instruments_gc,
    instruments_templates,
)
from django_wsgiperf.metrics.instruments_database import statement_timer
from django_wsgiperf.metrics.record import Record, current
from django_wsgiperf.metrics.statements import known_texts

from .conftest import CACHES, TEMPLATES

MODULES = (instruments_cache, instruments_database, instruments_gc, instruments_templates)
KINDS = ("db", "pool", "cache", "get_or_set", "template", "gc", "python")


class Clock:
    """Nanoseconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 1

    def __call__(self) -> int:
        return self.now


@dataclass
class Step:
    """Something that a request does: it takes `before_ns`, does what is inside, takes `after_ns`, and may fail."""

    kind: str
    before_ns: int
    inside: list[Step]
    after_ns: int
    fails: bool


steps = st.recursive(
    st.builds(Step, st.sampled_from(KINDS), st.integers(0, 10**9), st.just([]), st.integers(0, 10**9), st.booleans()),
    lambda inner: st.builds(
        Step,
        st.sampled_from(KINDS),
        st.integers(0, 10**9),
        st.lists(inner, max_size=3),
        st.integers(0, 10**9),
        st.booleans(),
    ),
    max_leaves=12,
)


class Failure(Exception):
    pass


def as_django(cursor: Any, sql: Any, params: Any, many: bool, executor: Callable[..., Any]) -> Any:
    """What CursorWrapper does with a statement."""
    return executor(sql, params, many, {"connection": cursor.db, "cursor": cursor})


def cursor_of(vendor: str, rowcount: int) -> CursorWrapper:
    """Of a driver that knows nothing but how many rows there were."""
    db = mock.Mock(alias="default", vendor=vendor, execute_wrappers=[], _wsgiperf_texts=known_texts(vendor))
    return CursorWrapper(mock.Mock(rowcount=rowcount), db)


class Request:
    """Takes steps by way of the real instruments, and keeps its own accounts."""

    def __init__(self, clock: Clock, collection: Any) -> None:
        self.clock = clock
        self.collection = collection
        self.spent: dict[str, int] = dict.fromkeys((*KINDS, "wall"), 0)
        self.timer = statement_timer(as_django)

    def take(self, step: Step) -> None:
        with contextlib.suppress(Failure):
            getattr(self, f"by_{step.kind}")(step, lambda *_, **__: self.body(step))

    def body(self, step: Step) -> int:
        """What happens inside of an instrument."""
        mine = "python" if step.kind == "get_or_set" else step.kind
        self.pass_time(mine, step.before_ns)
        for inner in step.inside:
            self.take(inner)
        self.pass_time(mine, step.after_ns)
        # The collector reports no failures.
        if step.fails and step.kind != "gc":
            raise Failure
        return 1

    def pass_time(self, kind: str, duration_ns: int) -> None:
        self.clock.now += duration_ns
        self.spent[kind] += duration_ns
        self.spent["wall"] += duration_ns

    def by_python(self, step: Step, body: Callable[..., int]) -> None:
        body()

    def by_db(self, step: Step, body: Callable[..., int]) -> None:
        self.timer(cursor_of("sqlite", rowcount=1), "SELECT 1", None, False, body)

    def by_pool(self, step: Step, body: Callable[..., Any]) -> None:
        instruments_database._Connect("default", body)()

    def by_cache(self, step: Step, body: Callable[..., int]) -> None:
        cache = caches["default"]
        # The backend is busy with the steps: a project's own backend may do anything.
        with mock.patch.object(type(cache)._wsgiperf_base, "touch", body):  # type: ignore[attr-defined]
            outer, cache._wsgiperf_inside = cache._wsgiperf_inside, False  # type: ignore[attr-defined]
            try:
                cache.touch("key")
            finally:
                cache._wsgiperf_inside = outer  # type: ignore[attr-defined]

    def by_get_or_set(self, step: Step, body: Callable[..., int]) -> None:
        cache = caches["other"]
        cache.clear()
        outer = cache._wsgiperf_inside  # type: ignore[attr-defined]
        cache._wsgiperf_inside = False  # type: ignore[attr-defined]
        try:
            cache.get_or_set("key", body)
        finally:
            cache._wsgiperf_inside = outer  # type: ignore[attr-defined]

    def by_template(self, step: Step, body: Callable[..., int]) -> None:
        engines["django"].from_string("{{ body }}").render({"body": body})

    def by_gc(self, step: Step, body: Callable[..., int]) -> None:
        self.collection("start", {})
        body()
        self.collection("stop", {"generation": 0})


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    gc.disable()
    with override_settings(CACHES=CACHES, TEMPLATES=TEMPLATES, WSGIPERF={"METRICS": {"GC_TIMING": False}}):
        instruments.install()
        patches = [mock.patch.object(module, "perf_counter_ns", made) for module in MODULES]
        for patch in patches:
            patch.start()
        yield made
        for patch in patches:
            patch.stop()
        instruments.uninstall()
    gc.enable()


def without_nested_collections(step: Step, inside_gc: bool = False) -> Step:
    """The interpreter runs one collection at a time: what is inside of one is Python code."""
    kind = "python" if step.kind == "gc" and inside_gc else step.kind
    inner = [without_nested_collections(each, inside_gc or step.kind == "gc") for each in step.inside]
    return Step(kind, step.before_ns, inner, step.after_ns, step.fails)


def owned(step: Step, owner: str = "python") -> dict[str, int]:
    """Whose the time is: Python code inside of an instrument is the instrument's, but for that in get_or_set()."""
    mine = {"python": owner, "get_or_set": owner}.get(step.kind, step.kind)
    sums = {mine: step.before_ns + step.after_ns}
    for inner in step.inside:
        for kind, duration_ns in owned(inner, mine).items():
            sums[kind] = sums.get(kind, 0) + duration_ns
    return sums


# The clock only goes on: what it shows at the beginning does not matter.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(steps, max_size=4))
def test_the_parts_are_those_that_were_spent_and_add_up(clock: Clock, plan: list[Step]) -> None:
    plan = [without_nested_collections(step) for step in plan]
    record = Record("GET")
    record.began_ns = clock.now
    request = Request(clock, instruments_gc._Collection())
    token = current.set(record)
    try:
        for step in plan:
            request.take(step)
    finally:
        current.reset(token)
    record.ttfb_ns = clock.now - record.began_ns
    record.write_ns = 0
    record.end(clock.now)
    parts = record.parts_ns()
    assert sum(parts.values()) == record.total_ns == request.spent["wall"]
    expected: dict[str, int] = {}
    for step in plan:
        for kind, duration_ns in owned(step).items():
            expected[kind] = expected.get(kind, 0) + duration_ns
    assert {kind: ns for kind, ns in parts.items() if ns} == {kind: ns for kind, ns in expected.items() if ns}
    assert record.accounted_ns == sum(record.accounts())


@settings(deadline=None, max_examples=30)
@given(threads=st.integers(2, 5), times=st.integers(1, 20))
def test_threads_at_once_lose_no_count_and_add_no_time_twice(threads: int, times: int) -> None:
    record = Record("GET")
    timer = statement_timer(as_django)
    start = threading.Barrier(threads)
    cursor = cursor_of("sqlite", rowcount=2)

    def work() -> None:
        current.set(record)
        start.wait(20)
        for _ in range(times):
            timer(cursor, "SELECT 1", None, False, lambda *_: None)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    record.end(instruments_database.perf_counter_ns())
    use = record.db["default"]
    assert (use.queries, use.rows) == (threads * times, 2 * threads * times)
    assert record.queries["SELECT ?"][0] == threads * times
    assert use.execute_ns == record.accounted_ns <= record.total_ns


def test_what_threads_leave_beside_is_bounded() -> None:
    record = Record("GET")
    added: list[int] = []
    for number in range(20_000):
        record.add_beside(lambda number=number: added.append(number))  # type: ignore[misc]
    record.end(record.began_ns)
    assert len(added) == 10_000
    record.add_beside(lambda: added.append(-1))
    assert record.beside is None
