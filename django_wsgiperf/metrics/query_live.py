"""What runs now, in all processes: those of this host are asked, the others told it in their last report.

A process answers for the requests that it has begun and not ended (pipeline.running); who may be interrupted its server
knows. Paths and parameters are not shown, only routes and statements without values.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final

from django_wsgiperf import control

from . import pipeline, providers, reports, routes
from .record import Record
from .results import Live, ProcessRow, Running
from .stores.base import StoreError

TOPIC: Final = "live"
INTERRUPT: Final = "interrupt"
_ANSWER_S: Final = 1.0
_SILENT_S: Final = 30.0
"""So long a process that did not answer, since it is frozen for example, is hardly waited for."""
_MAX_SILENT: Final = 200
_SEEN_S: Final = 300
_MAX_RUNNING: Final = 200
_MAX_FRAMES: Final = 60

_silent: dict[str, float] = {}
"""Instance -> until when (time.monotonic()). Bounded by _MAX_SILENT, after which it begins anew."""


def live(stacks: bool = False, now: float | None = None) -> Live:
    """Every process that reported lately, and every request that runs on this host. Takes about a second at
    most, and because of one that does not answer only once in half a minute.

    Never raises because of the store: what runs is asked for most when something is away."""
    now_s = time.time() if now is None else now
    told: dict[str, ProcessRow] = {}
    problem = ""
    try:
        told = {row.instance: row for row in reports.rows(pipeline.worker().store().reports(int(now_s) - _SEEN_S))}
    except StoreError as error:
        problem = str(error)
    running: list[Running] = []
    for answer in _ask(TOPIC, {"stacks": stacks}):
        row = reports.row(answer.get("process"), reachable=True)
        if row is not None:
            told[row.instance] = row
            running += _running(row, answer.get("running"))
    rows = sorted(told.values(), key=lambda row: (row.host, row.pid, row.instance))
    return Live(now_s, tuple(rows), tuple(sorted(running, key=lambda each: -each.age_s)), problem)


def interrupt(process: str, key: str) -> bool:
    """Interrupt a request that live() has shown; False when it is over, or cannot be."""
    if process == pipeline.instance():
        return interrupt_here(key)
    answers = _ask(INTERRUPT, {"key": key}, instance=process)
    return any(answer.get("interrupted") is True for answer in answers)


def _ask(topic: str, message: dict[str, Any], *, instance: str | None = None) -> list[Mapping[str, Any]]:
    """What the processes of this host answer; this one too, whether it listens or not."""
    now = time.monotonic()
    hurried = () if instance else [name for name, until in list(_silent.items()) if until > now]
    answers = control.ask(topic, message, instance=instance, timeout_s=_ANSWER_S, hurried=hurried)
    for answer in answers:
        if answer.reply is not None:
            _silent.pop(answer.instance, None)
        elif answer.instance not in hurried:
            if len(_silent) >= _MAX_SILENT:
                _silent.clear()
            _silent[answer.instance] = now + _SILENT_S
    replies: list[Mapping[str, Any]] = [answer.reply for answer in answers if answer.reply is not None]
    if topic == TOPIC and all(answer.instance != pipeline.instance() for answer in answers):
        replies.append(answer_live(message))
    return replies


def answer_live(message: Mapping[str, Any]) -> dict[str, Any]:
    """This process, and what runs in it, ready for JSON."""
    return {
        "process": reports.describe(pipeline.worker(), time.time()),
        "running": running_here(stacks=bool(message.get("stacks"))),
    }


def running_here(*, stacks: bool) -> list[dict[str, Any]]:
    """The requests that this process runs now, the longest first."""
    now_ns = time.perf_counter_ns()
    records = sorted(pipeline.running, key=lambda record: record.began_ns)[:_MAX_RUNNING]
    slots: Mapping[int, tuple[int, bool]] = providers.ask(providers.SLOTS) or {}
    frames = sys._current_frames() if stacks else {}
    found = []
    for record in records:
        slot, interruptible = slots.get(record.thread_id, (None, False))
        found.append(
            {
                "slot": slot,
                "key": key_of(record),
                "method": record.method,
                "route": record.route or _route_so_far(record),
                "age_s": round((now_ns - record.began_ns) / 1e9, 3),
                "sql": record.current_sql,
                "stack": _stack(frames.get(record.thread_id)),
                "request_id": record.request_id,
                "streaming": record.streaming,
                "interruptible": interruptible,
            }
        )
    return found


def _route_so_far(record: Record) -> str:
    """The route of a request that has not ended; empty as long as Django has found none. ROUTE_NAMER is not asked: it
    belongs to the request's own thread."""
    request = record.request
    if request is None or getattr(request, "resolver_match", None) is None:
        return ""
    return routes.name_of(request, 200, None)


def _stack(frame: Any) -> list[str]:
    """File, line and function of each call, the innermost last; the lines' text stays on disk."""
    if frame is None:
        return []
    calls = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_MAX_FRAMES, lookup_lines=False)
    return [f"{call.filename}:{call.lineno} in {call.name}" for call in reversed(calls)]


def key_of(record: Record) -> str:
    """Names a running request in its process: its thread, and when it began."""
    return f"{record.thread_id:x}-{record.began_ns:x}"


def interrupt_here(key: str) -> bool:
    """Interrupt a request of this process; False when it is over, or its server cannot do that."""
    record = next((each for each in list(pipeline.running) if key_of(each) == key), None)
    if record is None:
        return False
    return providers.ask(providers.INTERRUPT, record.thread_id, lambda: record in pipeline.running) is True


def answer_interrupt(message: Mapping[str, Any]) -> dict[str, Any]:
    """The same, asked by another process."""
    return {"interrupted": interrupt_here(str(message.get("key", "")))}


def _running(row: ProcessRow, told: Any) -> list[Running]:
    found = []
    for each in told if isinstance(told, list) else ():
        try:
            found.append(
                Running(
                    process=row.instance,
                    slot=each["slot"],
                    key=str(each["key"]),
                    method=str(each["method"]),
                    route=str(each["route"]),
                    age_s=float(each["age_s"]),
                    sql=str(each["sql"]),
                    stack=tuple(each["stack"]),
                    request_id=str(each["request_id"]),
                    streaming=bool(each["streaming"]),
                    interruptible=bool(each["interruptible"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            continue
    return found


def listen() -> None:
    """Answer other processes from now on."""
    control.handle(TOPIC, answer_live)
    control.handle(INTERRUPT, answer_interrupt)
    control.start()
