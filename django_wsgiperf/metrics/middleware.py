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

from django_wsgiperf import conf, request_state

from . import access, bodies, headers, instruments, pipeline, routes, sampling
from .instruments_views import note_exception
from .record import Record, current
from .uses import Limits

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
        self._exclude = values.exclude
        self._gives_ids = values.request_id
        self._trusts_start = values.trust_request_start
        self._timing_for_staff = values.server_timing == "staff"
        self._timing_for_all = values.server_timing == "all" or (self._timing_for_staff and settings.DEBUG)
        self._limits = Limits(values.max_spans, values.n_plus_one_queries)
        self._namer: routes.Namer | None = import_string(values.route_namer) if values.route_namer else None
        self._plain_names = routes.plain_names(self._namer)
        self._logs = values.access_log
        self._done = access.log_and_submit if values.access_log else pipeline.submit
        request_state.install()
        instruments.install()
        sampling.configure(values.stack_threshold_ms)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._serve_async(request)
        record = self._begin(request)
        if record is None:
            response: HttpResponseBase = self.get_response(request)
            return response
        before = sys.exception()
        token = current.set(record)
        record.cpu_began_ns = thread_time_ns()
        try:
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
        if self._exclude and request.path_info.startswith(self._exclude):
            return None
        attributes = request.__dict__
        if request_state.RECORD in attributes:
            return None
        record = Record(routes.METHODS.get(request.method or "", routes.OTHER_METHOD), self._limits, request)
        attributes[request_state.RECORD] = record
        if request_state.NAME in attributes:
            attributes[request_state.NAME].record = record
        try:
            meta = request.META
            if self._gives_ids:
                given = meta.get("HTTP_X_REQUEST_ID")
                record.request_id = headers.next_request_id() if given is None else headers.request_id_of(given)
            if "HTTP_TRACEPARENT" in meta:
                record.trace_id = headers.trace_id_of(meta["HTTP_TRACEPARENT"])
            if "wsgiperf.queue_ns" in meta:
                record.queue_ns = meta["wsgiperf.queue_ns"]
            elif self._trusts_start and "HTTP_X_REQUEST_START" in meta:
                record.queue_ns = headers.queued_ns_since(meta["HTTP_X_REQUEST_START"], record.began_s)
            pipeline.running[record] = record
            sampler = sampling.sampler
            if not sampler.alive and sampler.threshold_ns:
                sampler.start()
        except Exception:
            logger.exception("A request is not measured")
            pipeline.forget(record)
            return None
        return record

    # -- the end

    def _answered(
        self, record: Record, request: HttpRequest, response: HttpResponseBase, before: BaseException | None
    ) -> None:
        """The response leaves this middleware: name the request, and see to its end."""
        record.ttfb_ns = perf_counter_ns() - record.began_ns
        try:
            record.status = response.status_code
            meta = request.META
            match = request.resolver_match
            attributes = request.__dict__
            if match is None or request_state.NAME in attributes or "urlconf" in attributes:
                record.route = routes.name_of(request, record.status, self._namer)
            else:
                record.route = self._plain_names.get(match.route) or routes.name_of(request, 0, self._namer)
            if self._logs:
                record.path = request.path_info
            if not record.page_cache and "wsgiperf.page_cache" in meta:
                record.page_cache = meta["wsgiperf.page_cache"]
            if record.request_id:
                # What is here is known to be a header's value, and need not be looked at letter by letter.
                response.headers._store["x-request-id"] = ("X-Request-ID", record.request_id)
            if self._timing_for_all or (
                self._timing_for_staff and "user" in attributes and headers.is_known_as_staff(request)
            ):
                headers.append_server_timing(response, record)
            if "wsgiperf.queue_ns" in meta:
                # The access log of `serve` asks for it when the response has been sent.
                meta["wsgiperf.report"] = record.report
            ending = bodies.Ending(record, self._done, before)
            if response.streaming:
                bodies.watch_stream(response, record, ending)
            else:
                record.body_bytes = bodies.length_of(response)
            try:
                response._resource_closers.append(ending)  # type: ignore[attr-defined]
            except AttributeError:
                bodies.watch_close(response, ending)
        except Exception:
            logger.exception("A request could not be measured to its end")
            pipeline.forget(record)

    def _end_without_response(self, record: Record, request: HttpRequest, error: BaseException) -> None:
        """What no middleware turns into a response: the client of an asynchronous request left, the server interrupts
        this one, or the process ends."""
        # From here on the collector is not the request's.
        current.set(None)
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
