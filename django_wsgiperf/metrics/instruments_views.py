"""Knows when a request's view begins and ends, and what it let through: what comes before and after is middleware.

The handler asks for each view by make_view_atomic() just before it calls it, which is where the view is exchanged for
one that notes the time. A template response's rendering, which Django does after the view, still belongs to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.handlers.base import BaseHandler
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError

from .record import Record, current

_ANSWERED = (Http404, PermissionDenied, SuspiciousOperation, BadRequest, MultiPartParserError)
"""Django's answers to these are 4xx: they are about the request, and no failure of the view."""
_DISPATCH = "django_wsgiperf.metrics"


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
    original = BaseHandler.make_view_atomic

    def make_view_atomic(self: BaseHandler, view: Any) -> Any:
        made = original(self, view)
        record = current.get()
        # A view of a request inside of this one, without a record of its own, is part of this one's view.
        if record is None or record.view_began_ns:
            return made
        if iscoroutinefunction(made):
            return _timed_async(record, made)
        return partial(_run, record, made)

    BaseHandler.make_view_atomic = make_view_atomic  # type: ignore[method-assign]
    got_request_exception.connect(_note_signalled, dispatch_uid=_DISPATCH)

    def uninstall() -> None:
        if BaseHandler.make_view_atomic is make_view_atomic:
            BaseHandler.make_view_atomic = original  # type: ignore[method-assign]
        got_request_exception.disconnect(dispatch_uid=_DISPATCH)

    return uninstall


def _note_signalled(**_: Any) -> None:
    """An exception of a view or a middleware that becomes an answer of 500."""
    import sys

    record, error = current.get(), sys.exc_info()[1]
    if record is not None and error is not None:
        note_exception(record, error)


def _run(record: Record, view: Callable[..., Any], request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
    """Call the view. Under an asynchronous handler it has a thread for the time, whose stack is then the request's."""
    thread_id = record.thread_id
    record.thread_id = get_ident()
    record.view_began_ns = perf_counter_ns()
    try:
        response = view(request, *args, **kwargs)
    except BaseException as error:
        note_exception(record, error)
        raise
    finally:
        record.view_ended_ns = perf_counter_ns()
        record.thread_id = thread_id
    if getattr(response, "is_rendered", True) is False:
        response.add_post_render_callback(partial(_rendered, record))
    return response


def _timed_async(record: Record, view: Callable[..., Any]) -> Callable[..., Any]:
    async def timed(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Under WSGI it runs in a loop of its own, in another thread: processor time is not to be had.
        thread_id, task = record.thread_id, record.task
        record.cpu_began_ns = -1
        record.thread_id, record.task = 0, asyncio.current_task()
        record.view_began_ns = perf_counter_ns()
        try:
            response = await view(request, *args, **kwargs)
        except BaseException as error:
            note_exception(record, error)
            raise
        finally:
            record.view_ended_ns = perf_counter_ns()
            record.thread_id, record.task = thread_id, task
        if getattr(response, "is_rendered", True) is False:
            response.add_post_render_callback(partial(_rendered, record))
        return response

    return timed


def _rendered(record: Record, _: Any) -> None:
    record.view_ended_ns = perf_counter_ns()
