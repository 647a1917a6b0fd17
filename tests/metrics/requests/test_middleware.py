"""What is measured of a request, from its beginning to the close of its response, however it ends."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_wsgiperf.metrics import pipeline
from django_wsgiperf.metrics.middleware import RequestTimingMiddleware
from django_wsgiperf.metrics.record import Record, current

from .conftest import TIMING, Measured, measuring, scope
from .site import ask_database, hooks

HERE = "tests.metrics.requests.test_middleware."


def answers_itself(get_response: Any) -> Any:
    return lambda request: HttpResponse("short", status=418)


def fails_before(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    return middleware


def fails_after(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        get_response(request)
        raise ZeroDivisionError

    return middleware


def asks_twice(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        get_response(request)
        return get_response(request)

    return middleware


def turns_errors_into_answers(get_response: Any) -> Any:
    class Middleware:
        def __call__(self, request: HttpRequest) -> Any:
            return get_response(request)

        def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
            return HttpResponse("sorry", status=503)

    return Middleware()


def adds_up(record: Record) -> bool:
    parts = record.parts_ns()
    return sum(parts.values()) == record.total_ns + max(0, record.queue_ns) and min(parts.values()) >= 0


class TestWhatIsKnown:
    def test_of_a_plain_request(self, measured: Measured) -> None:
        record = measured.record("/books/7/?token=secret")
        assert (record.method, record.route, record.status, record.body_bytes) == ("GET", "/books/<int:pk>/", 200, 5)
        assert not record.streaming
        assert not record.aborted
        assert not record.exception
        assert 0 < record.ttfb_ns <= record.total_ns
        assert record.cpu_ns > 0
        assert record.queue_ns == -1
        assert record.db == {}
        assert record.cache == {}
        assert adds_up(record)

    def test_methods_are_ten(self, measured: Measured) -> None:
        assert [measured.record("/", method).method for method in ("POST", "BREW")] == ["POST", "_OTHER"]

    def test_queue_time_is_what_the_server_says(self, measured: Measured) -> None:
        record = measured.record("/", **{"wsgiperf.queue_ns": 1500})
        assert record.queue_ns == record.parts_ns()["queue"] == 1500
        assert adds_up(record)
        assert ("queue", -1500, 1500, "") in record.spans

    def test_outcome_of_the_response_cache(self, measured: Measured) -> None:
        assert measured.record("/", **{"wsgiperf.page_cache": "miss"}).page_cache == "miss"

    def test_report_for_the_servers_log(self, measured: Measured) -> None:
        environ: dict[str, Any] = {"wsgiperf.queue_ns": 2_000_000}
        kept: list[Any] = []
        hooks["view"] = lambda: kept.append(current.get())
        answer = measured.begin("/hooked/", **environ)
        answer.read()
        report = kept[0].report()
        assert report["route"] == "/hooked/"
        assert report["queue_ms"] == 2.0
        assert report["queries"] == 0

    def test_phases_of_the_view_and_the_middleware(self, db: None) -> None:
        with measuring(metrics={"GC_TIMING": False}) as measured:
            record = measured.record("/plain/")
        kinds = [kind for kind, *_ in record.spans]
        assert kinds == ["middleware", "view", "middleware", "write"]
        ends = [start + duration for _, start, duration, _ in record.spans]
        assert [start for _, start, _, _ in record.spans] == [0, *ends[:-1]], "one follows the other"
        assert ends[-1] == record.total_ns

    def test_rendering_after_the_view_belongs_to_the_view(self, measured: Measured) -> None:
        spans = {kind: (start, start + duration) for kind, start, duration, _ in measured.record("/deferred/").spans}
        assert spans["view"][0] <= spans["template"][0] <= spans["template"][1] <= spans["view"][1]


class TestHowItEnds:
    @pytest.mark.parametrize(
        ("path", "status", "exception"),
        [
            ("/fails/", 500, "ValueError"),
            ("/fails-async/", 500, "LookupError"),
            ("/missing/", 404, ""),
            ("/denied/", 403, ""),
            ("/suspicious/", 400, ""),
            ("/redirects/", 302, ""),
        ],
    )
    def test_exceptions_of_views(self, measured: Measured, path: str, status: int, exception: str) -> None:
        record = measured.record(path)
        assert (record.route, record.status, record.exception) == (path, status, exception)
        assert len(measured.records) == 1
        assert adds_up(record)

    @pytest.mark.parametrize("name", ["fails_before", "fails_after"])
    def test_exceptions_of_other_middleware(self, db: None, name: str) -> None:
        with measuring(middleware=(TIMING, HERE + name)) as measured:
            record = measured.record("/plain/")
        assert (record.status, record.exception, len(measured.records)) == (500, "ZeroDivisionError", 1)

    def test_an_exception_that_a_middleware_answers(self, db: None) -> None:
        with measuring(middleware=(TIMING, HERE + "turns_errors_into_answers")) as measured:
            record = measured.record("/fails/")
        assert (record.status, record.exception, record.route) == (503, "ValueError", "/fails/")

    def test_middleware_that_answers_itself(self, db: None) -> None:
        with measuring(middleware=(TIMING, HERE + "answers_itself")) as measured:
            record = measured.record("/plain/")
        assert (record.status, record.route) == (418, "(middleware)")
        assert [kind for kind, *_ in record.spans if kind != "gc"] == ["middleware", "write"]

    def test_middleware_that_asks_twice_makes_one_record(self, db: None) -> None:
        with measuring(middleware=(TIMING, HERE + "asks_twice")) as measured:
            record = measured.record("/queries/2/")
        assert len(measured.records) == 1
        assert record.db["default"].queries == 4

    def test_the_middleware_named_twice_measures_once(self, db: None) -> None:
        with measuring(middleware=(TIMING, TIMING)) as measured:
            assert measured.record("/queries/2/").db["default"].queries == 2
        assert len(measured.records) == 1

    def test_an_exception_that_no_middleware_stops(self, measured: Measured) -> None:
        class Stop(BaseException):
            pass

        def stop() -> None:
            raise Stop

        hooks["view"] = stop
        with pytest.raises(Stop):
            measured.ask("/hooked/")
        (record,) = measured.records
        assert (record.route, record.status) == ("/hooked/", 500)
        assert current.get() is None
        assert adds_up(record)

    def test_a_response_that_nobody_closes_ends_when_it_is_collected(self, measured: Measured) -> None:
        answer = measured.begin("/plain/")
        assert list(answer.body) == [b"plain"]
        assert measured.records == []
        assert len(pipeline.running) == 1
        del answer
        assert [record.status for record in measured.records] == [200]
        assert not measured.records[0].aborted

    def test_closing_twice_counts_once(self, measured: Measured) -> None:
        answer = measured.begin("/plain/")
        answer.close()
        answer.close()
        assert len(measured.records) == 1

    def test_nothing_of_ours_is_an_error_of_the_request(
        self, measured: Measured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_wsgiperf.metrics.bodies.length_of", lambda *_: 1 / 0)
        assert measured.ask("/plain/").status == 200
        assert "could not be measured" in caplog.text
        assert not pipeline.running

    def test_nor_at_its_beginning(
        self, measured: Measured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_wsgiperf.metrics.headers.trace_id_of", lambda _: 1 / 0)
        assert measured.ask("/plain/", HTTP_TRACEPARENT="x").status == 200
        assert "is not measured" in caplog.text
        assert measured.records == []
        assert not pipeline.running

    def test_requests_can_be_pickled_and_copied_as_ever(self, db: None) -> None:
        copies: list[HttpRequest] = []

        def copies_requests(get_response: Any) -> Any:
            def middleware(request: Any) -> Any:
                request.META = {"PATH_INFO": "/plain/"}
                request.wsgiperf.route = "mine"
                copies.extend([pickle.loads(pickle.dumps(request)), copy.deepcopy(request)])
                return get_response(request)

            return middleware

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "copies_requests", copies_requests)
            with measuring(middleware=(TIMING, HERE + "copies_requests")) as measured:
                assert measured.record("/plain/").status == 200
        for each in copies:
            state: Any = each.wsgiperf  # type: ignore[attr-defined]
            assert (state.route, state.record, state.request_id) == ("mine", None, "")


class TestRequestsInRequests:
    def test_each_has_its_own_record(self, measured: Measured) -> None:
        outer = measured.record("/asks-itself/")
        inner, again = measured.records
        assert again is outer
        assert (inner.route, inner.db["default"].queries) == ("/queries/<int:times>/", 3)
        assert (outer.route, outer.db["default"].queries) == ("/asks-itself/", 2)
        assert adds_up(outer)
        assert adds_up(inner)
        assert current.get() is None

    def test_an_excluded_request_inside_is_part_of_the_outer(self, db: None) -> None:
        with measuring(metrics={"EXCLUDE": ["/queries/"]}) as measured:
            assert measured.record("/asks-itself/").db["default"].queries == 5
        assert len(measured.records) == 1


class TestThreadsOfTheProject:
    def test_with_the_requests_context_they_count_and_without_they_do_not(self, measured: Measured) -> None:
        record = measured.record("/in-thread/")
        assert record.db["default"].queries == 3
        assert adds_up(record)

    def test_one_that_outlives_its_request_adds_nothing(self, measured: Measured) -> None:
        contexts: list[contextvars.Context] = []
        hooks["view"] = lambda: contexts.append(contextvars.copy_context())
        record = measured.record("/hooked/")
        contexts[0].run(ask_database, 3)
        assert record.db == {}


class TestWhatIsNotMeasured:
    def test_excluded_paths(self, db: None) -> None:
        with measuring(metrics={"EXCLUDE": ["/plain/"]}) as measured:
            answer = measured.ask("/plain/")
        assert measured.records == []
        assert "X-Request-ID" not in answer.headers

    def test_without_enabled_the_middleware_is_not_used(self, db: None) -> None:
        with measuring(metrics={"ENABLED": False}) as measured:
            measured.ask("/queries/1/")
            with pytest.raises(MiddlewareNotUsed):
                RequestTimingMiddleware(lambda request: HttpResponse())
        assert measured.records == []

    def test_every_request_has_a_place_to_write_to(self) -> None:
        request: Any = RequestFactory().get("/")
        request.wsgiperf.route = "mine"
        assert (request.wsgiperf.route, request.wsgiperf.request_id) == ("mine", "")
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            request.wsgiperf.nonsense  # noqa: B018


class TestAsynchronous:
    def test_view_under_asgi(self, measured: Measured) -> None:
        messages = asyncio.run(measured.ask_async("/asynchronous/"))
        assert messages[0]["status"] == 200
        (record,) = measured.records
        self.check(record)

    def test_view_under_wsgi(self, measured: Measured) -> None:
        self.check(measured.record("/asynchronous/"))

    def check(self, record: Record) -> None:
        assert record.route == "/asynchronous/"
        assert record.db["default"].queries == 3
        use = record.cache["default"]
        assert (use.calls, use.hits, use.misses) == (3, 1, 1)
        assert record.cpu_ns == -1
        assert adds_up(record)
        assert any(kind == "view" for kind, *_ in record.spans)

    def test_synchronous_view_under_asgi(self, measured: Measured) -> None:
        asyncio.run(measured.ask_async("/queries/2/"))
        (record,) = measured.records
        assert (record.db["default"].queries, record.cpu_ns) == (2, -1)
        assert adds_up(record)

    def test_a_client_that_leaves_before_there_is_a_response(self, measured: Measured) -> None:
        async def leave() -> None:
            entered = asyncio.Event()
            hooks["view"] = entered.set
            communicator = ApplicationCommunicator(ASGIHandler(), scope("/waits-async/"))
            await communicator.send_input({"type": "http.request", "body": b""})
            await entered.wait()
            await communicator.send_input({"type": "http.disconnect"})
            await communicator.wait(timeout=20)

        asyncio.run(leave())
        (record,) = measured.records
        assert (record.route, record.status, record.aborted) == ("/waits-async/", 499, True)

    def test_requests_at_once_do_not_mix(self, measured: Measured) -> None:
        async def both() -> None:
            await asyncio.gather(measured.ask_async("/asynchronous/"), measured.ask_async("/queries/5/"))

        asyncio.run(both())
        found = {record.route: record.db["default"].queries for record in measured.records}
        assert found == {"/asynchronous/": 3, "/queries/<int:times>/": 5}
