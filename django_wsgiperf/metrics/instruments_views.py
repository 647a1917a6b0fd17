"""Knows when a request's view begins and ends, and what it let through: what comes before and after is middleware.

Django's handler calls make_view_atomic() just before a view, and check_response() or process_exception_by_middleware()
right after it. Those note the time. A template response's rendering, which comes later, still belongs to the view.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.base import BaseHandler
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

from .record import Record, current

_ANSWERED = (Http404, PermissionDenied, SuspiciousOperation, BadRequest, MultiPartParserError)
"""Django's answers to these are 4xx: they are about the request, and no failure of the view."""
_DISPATCH = "django_wsgiperf.metrics"
_MAX_KINDS = 1000
_kinds: dict[Any, bool] = {}
"""View -> whether it is a coroutine function. Bounded by _MAX_KINDS, after which it begins anew."""


def name_of_exception(error: BaseException) -> str:
    """Its class, with the module unless it is built in. The message may hold anything, and is not kept."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def note_exception(record: Record, error: BaseException) -> None:
    """The first that a request's code let through is the one to know."""
    if not record.exception and isinstance(error, Exception) and not isinstance(error, _ANSWERED):
        record.exception = name_of_exception(error)


def install() -> Callable[[], None]:
    """Time every view from now on; the function that ends it."""
    begin, check, failed = (
        BaseHandler.make_view_atomic,
        BaseHandler.check_response,
        BaseHandler.process_exception_by_middleware,
    )

    known = _kinds

    def make_view_atomic(self: BaseHandler, view: Any) -> Any:
        made = begin(self, view)
        record = current.get()
        # A view of a request inside of this one, without a record of its own, is part of this one's view.
        if record is None or record.view_began_ns:
            return made
        try:
            plain = made is view and known[view] is False and record.task is None
        except (KeyError, TypeError):  # Not seen before, or it has no hash.
            plain = False
        if not plain and (record.task is not None or _is_async(made, view)):
            made = _noting_who_runs_it(record, made)
        record.view_began_ns = perf_counter_ns()
        return made

    def check_response(self: BaseHandler, response: Any, callback: Any, name: str | None = None) -> None:
        record = current.get()
        if record is not None and record.view_began_ns and not record.view_ended_ns:
            record.view_ended_ns = perf_counter_ns()
            if type(response) is HttpResponse:
                return
            if getattr(response, "is_rendered", True) is False:
                response.add_post_render_callback(partial(_rendered, record))
        # It complains of None and of coroutines, which it takes long to find out.
        if not isinstance(response, HttpResponseBase):
            check(self, response, callback, name)

    def process_exception_by_middleware(self: BaseHandler, exception: Exception, request: HttpRequest) -> Any:
        record = current.get()
        if record is not None:
            note_exception(record, exception)
            if record.view_began_ns and not record.view_ended_ns:
                record.view_ended_ns = perf_counter_ns()
        return failed(self, exception, request)

    patches: dict[str, tuple[Any, Any]] = {
        "make_view_atomic": (make_view_atomic, begin),
        "check_response": (check_response, check),
        "process_exception_by_middleware": (process_exception_by_middleware, failed),
    }
    for name, (patch, _) in patches.items():
        setattr(BaseHandler, name, patch)
    got_request_exception.connect(_note_signalled, dispatch_uid=_DISPATCH)

    def uninstall() -> None:
        for name, (patch, original) in patches.items():
            if vars(BaseHandler)[name] is patch:
                setattr(BaseHandler, name, original)
        got_request_exception.disconnect(dispatch_uid=_DISPATCH)

    return uninstall


def _note_signalled(**_: Any) -> None:
    """An exception of a view or a middleware that becomes an answer of 500."""
    record, error = current.get(), sys.exception()
    if record is not None and error is not None:
        note_exception(record, error)


def _is_async(made: Any, view: Any) -> bool:
    """Whether it is a coroutine function, remembered for those that are the project's own."""
    if made is not view:
        return bool(iscoroutinefunction(made))
    try:
        known = _kinds.get(view)
    except TypeError:  # It has no hash.
        return bool(iscoroutinefunction(view))
    if known is None:
        if len(_kinds) >= _MAX_KINDS:
            _kinds.clear()
        known = _kinds[view] = bool(iscoroutinefunction(view))
    return known


def _noting_who_runs_it(record: Record, view: Callable[..., Any]) -> Callable[..., Any]:
    """Where a loop has a part in it, the thread or task that runs the view is another than the middleware's."""
    if not iscoroutinefunction(view):
        return partial(_run_in_thread, record, view)

    async def in_task(*args: Any, **kwargs: Any) -> Any:
        # Under WSGI in a loop of its own, in another thread: the processor time is not to be had.
        thread_id, task = record.thread_id, record.task
        record.cpu_began_ns = -1
        record.thread_id, record.task = 0, asyncio.current_task()
        try:
            return await view(*args, **kwargs)
        finally:
            record.thread_id, record.task = thread_id, task

    return in_task


def _run_in_thread(record: Record, view: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    record.thread_id = get_ident()
    try:
        return view(*args, **kwargs)
    finally:
        record.thread_id = 0


def _rendered(record: Record, _: Any) -> None:
    record.view_ended_ns = perf_counter_ns()
