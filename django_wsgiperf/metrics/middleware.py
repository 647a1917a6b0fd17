"""`RequestTimingMiddleware`: makes the record of each request, and hands it on when the response has been closed.

First in MIDDLEWARE, for it measures what is inside of it. Under WSGI and ASGI, with views of either kind. Nothing that
goes wrong in here is an error of the request. What fills the record is in the instruments; where it goes, in pipeline.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from threading import get_ident
from time import perf_counter_ns, thread_time_ns
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from django_wsgiperf import conf
from django_wsgiperf.request_state import state_of

from . import access, bodies, headers, instruments, pipeline, routes, sampling
from .instruments_views import note_exception
from .record import Limits, Record, current

logger = logging.getLogger("django_wsgiperf.metrics")

CLIENT_LEFT = 499


class RequestTimingMiddleware:
    """Measures every request: `WSGIPERF["METRICS"]` says what of it, and where the numbers are kept."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        values = conf.current("METRICS").values
        if not values.enabled:
            raise MiddlewareNotUsed("WSGIPERF['METRICS']['ENABLED'] is False")
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        self._values = values
        self._limits = Limits(values.max_spans, values.n_plus_one_queries)
        self._namer: routes.Namer | None = import_string(values.route_namer) if values.route_namer else None
        self._sends_timing = values.server_timing != "off"
        self._done = access.log_and_submit if values.access_log else pipeline.submit
        instruments.install()
        sampling.configure(values.stack_threshold_ms)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._serve_async(request)
        record = self._begin(request)
        if record is None:
            response: HttpResponseBase = self.get_response(request)
            return response
        before = sys.exc_info()[1]
        token = current.set(record)
        try:
            record.cpu_began_ns = thread_time_ns()
            response = self.get_response(request)
        except BaseException as error:
            self._end_without_response(record, request, error)
            raise
        finally:
            current.reset(token)
        self._answered(record, request, response, before)
        return response

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        record = self._begin(request)
        if record is None:
            response: HttpResponseBase = await self.get_response(request)
            return response
        # The thread is the event loop's, and others' as well; the stack of a request is then its task's.
        record.thread_id, record.task = 0, asyncio.current_task()
        token = current.set(record)
        try:
            response = await self.get_response(request)
        except BaseException as error:
            self._end_without_response(record, request, error)
            raise
        finally:
            current.reset(token)
        self._answered(record, request, response, None)
        return response

    # -- the beginning

    def _begin(self, request: HttpRequest) -> Record | None:
        """The record of a new request; None when it is not to be measured, or is already."""
        values = self._values
        if values.exclude and request.path_info.startswith(values.exclude):
            return None
        state = state_of(request)
        if state.record is not None:
            return None
        record = Record(routes.METHODS.get(request.method or "", routes.OTHER_METHOD), self._limits)
        state.record = record
        meta = request.META
        if values.request_id:
            record.request_id = state.request_id = headers.request_id_of(meta.get("HTTP_X_REQUEST_ID", ""))
        if (traceparent := meta.get("HTTP_TRACEPARENT")) is not None:
            record.trace_id = state.trace_id = headers.trace_id_of(traceparent)
        queue_ns = meta.get("wsgiperf.queue_ns")
        if queue_ns is not None:
            record.queue_ns = queue_ns
        elif values.trust_request_start and (started := meta.get("HTTP_X_REQUEST_START")) is not None:
            record.queue_ns = headers.queued_ns_since(started, record.began_s)
        pipeline.begin(record)
        sampling.watch()
        return record

    # -- the end

    def _answered(
        self, record: Record, request: HttpRequest, response: HttpResponseBase, before: BaseException | None
    ) -> None:
        """The response leaves this middleware: name the request, and see to its end."""
        record.ttfb_ns = perf_counter_ns() - record.began_ns
        try:
            record.status = status = response.status_code
            record.route = routes.name_of(request, status, self._namer)
            if not record.page_cache:
                record.page_cache = str(request.META.get("wsgiperf.page_cache", ""))
            if record.request_id:
                response.headers["X-Request-ID"] = record.request_id
            if self._sends_timing and headers.may_see_timing(request, self._values.server_timing, settings.DEBUG):
                headers.append_server_timing(response, record)
            record.path = request.path_info
            # For the access log of the server, which asks when the response has been sent.
            request.META["wsgiperf.report"] = record.report
            ending = bodies.Ending(record, get_ident(), before, self._done)
            bodies.watch(response, record, ending)
        except Exception:
            logger.exception("A request could not be measured to its end")
            pipeline.forget(record)

    def _end_without_response(self, record: Record, request: HttpRequest, error: BaseException) -> None:
        """What no middleware turns into a response: the client of an asynchronous request left, the server interrupts
        this one, or the process ends."""
        now_ns = perf_counter_ns()
        if isinstance(error, asyncio.CancelledError):
            record.status, record.aborted = CLIENT_LEFT, True
        else:
            record.status = getattr(type(error), "status_code", 500)
            record.aborted = bodies.is_end_of_client(error)
            note_exception(record, error)
        try:
            record.route = routes.name_of(request, record.status, self._namer)
            record.path = request.path_info
            request.META["wsgiperf.report"] = record.report
            if record.cpu_began_ns >= 0 and get_ident() == record.thread_id:
                record.cpu_ns = thread_time_ns() - record.cpu_began_ns
            record.ttfb_ns = now_ns - record.began_ns
            record.end(now_ns)
            self._done(record)
        except Exception:
            logger.exception("A request could not be measured to its end")
            pipeline.forget(record)
