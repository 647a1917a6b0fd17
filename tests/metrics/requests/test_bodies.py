"""The end of a body: streams are measured until they are closed, and clients that leave are told from failures."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse, StreamingHttpResponse

from django_wsgiperf.metrics import bodies
from django_wsgiperf.metrics.record import Record, current

from .conftest import Measured, scope
from .site import hooks


class TestStreams:
    def test_count_until_they_are_closed(self, measured: Measured) -> None:
        answer = measured.begin("/streams/")
        assert measured.records == []
        assert current.get() is None
        answer.piece()
        assert current.get() is None
        answer.read()
        (record,) = measured.records
        assert (record.streaming, record.aborted, record.body_bytes) == (True, False, 15)
        assert record.db["default"].queries == 4
        assert record.ttfb_ns < record.total_ns

    def test_their_parts_are_those_of_the_first_byte(self, measured: Measured) -> None:
        record = measured.record("/streams/")
        parts = record.parts_ns()
        assert sum(parts.values()) == record.ttfb_ns + record.write_ns
        assert parts["db"] < record.db_ns

    def test_queries_of_a_stream_do_not_go_to_another_request(self, measured: Measured) -> None:
        first = measured.begin("/streams/")
        first.piece()
        measured.ask("/queries/2/")
        first.read()
        assert {record.route: record.db["default"].queries for record in measured.records} == {
            "/queries/<int:times>/": 2,
            "/streams/": 4,
        }

    def test_of_a_class_that_iterates_by_itself_are_neither_sending_nor_aborted(self, measured: Measured) -> None:
        class Feed(StreamingHttpResponse):
            def __iter__(self) -> Iterator[bytes]:
                yield b"event"

        hooks["view"] = lambda: Feed(b"never" for _ in range(2))
        answer = measured.begin("/hooked/")
        assert answer.piece() == b"event"
        answer.read()
        (record,) = measured.records
        assert (record.streaming, record.aborted, record.body_bytes) == (True, False, -1)
        assert record.write_ns == 0
        assert sum(record.parts_ns().values()) == record.ttfb_ns

    def test_a_failure_in_the_middle_is_the_applications(self, measured: Measured) -> None:
        answer = measured.begin("/breaks-in-stream/")
        with pytest.raises(KeyError):
            answer.read()
        (record,) = measured.records
        assert (record.exception, record.aborted, record.body_bytes) == ("KeyError", False, 5)

    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
    @pytest.mark.parametrize("path", ["/breaks-in-stream/", "/breaks-in-stream-async/"])
    def test_a_failure_ends_the_request_where_nobody_closes_it(self, measured: Measured, path: str) -> None:
        """Django's handler for ASGI closes no response whose body failed, nor the request's own, a temporary file."""
        messages = [{"type": "http.request", "body": b""}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            pass

        with pytest.raises(KeyError) as failure:
            asyncio.run(ASGIHandler()(scope(path), receive, send))
        # The traceback has the response, which can so not be collected.
        (record,) = measured.records
        assert (record.exception, record.aborted, record.status) == ("KeyError", False, 200)
        for entry in failure.traceback:
            if "body_file" in entry.frame.f_locals:
                entry.frame.f_locals["body_file"].close()

    def test_asynchronous_under_asgi(self, measured: Measured) -> None:
        asyncio.run(measured.ask_async("/streams-async/"))
        (record,) = measured.records
        assert (record.db["default"].queries, record.body_bytes, record.aborted) == (3, 15, False)

    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
    def test_asynchronous_under_wsgi(self, measured: Measured) -> None:
        record = measured.record("/streams-async/")
        assert (record.db["default"].queries, record.body_bytes, record.aborted) == (3, 15, False)

    def test_without_a_body_to_send_nothing_is_missing(self, measured: Measured) -> None:
        measured.begin("/streams/", "HEAD").close()
        hooks["view"] = lambda: StreamingHttpResponse(iter([]), status=304)
        measured.begin("/hooked/").close()
        assert [record.aborted for record in measured.records] == [False, False]

    @pytest.mark.parametrize("path", ["/plain/", "/streams/", "/file/"])
    def test_an_answer_to_head_has_no_bytes(self, measured: Measured, path: str) -> None:
        record = measured.record(path, "HEAD")
        assert (record.status, record.body_bytes, record.aborted) == (200, 0, False)

    def test_the_iterator_is_closed_once(self, measured: Measured) -> None:
        class Pieces:
            closed = 0

            def __iter__(self) -> Any:
                return iter([b"a", b"b"])

            def close(self) -> None:
                self.closed += 1

        pieces = Pieces()
        hooks["view"] = lambda: StreamingHttpResponse(pieces)
        record = measured.record("/hooked/")
        assert (pieces.closed, record.body_bytes) == (1, 2)


class TestFiles:
    def test_their_length_is_known_without_reading_them(self, measured: Measured) -> None:
        record = measured.record("/file/")
        assert (record.body_bytes, record.streaming, record.aborted) == (1000, True, False)

    def test_handed_to_the_server(self, measured: Measured) -> None:
        class Wrapper:
            def __init__(self, file: io.BytesIO, size: int) -> None:
                self.file = file

            def __iter__(self) -> Any:
                return iter(lambda: self.file.read(100), b"")

            def close(self) -> None:
                self.file.close()

        answer = measured.ask("/file/", **{"wsgi.file_wrapper": Wrapper})
        assert isinstance(answer.body, Wrapper)
        assert [record.body_bytes for record in measured.records] == [1000]


class TestClientsThatLeave:
    @pytest.mark.parametrize("path", ["/plain/", "/streams/", "/file/"])
    @pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError])
    def test_are_known_by_the_servers_error(self, measured: Measured, path: str, error: type[OSError]) -> None:
        with pytest.raises(error):
            _fail_to_send(measured, path, error())
        (record,) = measured.records
        assert (record.aborted, record.exception, record.status) == (True, "", 200)

    def test_other_errors_of_the_server_are_not_theirs(self, measured: Measured) -> None:
        with pytest.raises(ValueError, match="server"):
            _fail_to_send(measured, "/plain/", ValueError("server"))
        assert not measured.records[0].aborted

    def test_an_error_from_before_the_request_is_not_its(self, measured: Measured) -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            measured.ask("/plain/")
        assert not measured.records[0].aborted

    def test_a_stream_closed_before_its_end(self, measured: Measured) -> None:
        answer = measured.begin("/streams/")
        answer.piece()
        answer.close()
        assert measured.records[0].aborted

    def test_an_asynchronous_stream(self, measured: Measured) -> None:
        hooks["view"] = lambda: StreamingHttpResponse(_endless())

        async def leave() -> None:
            communicator = ApplicationCommunicator(ASGIHandler(), scope("/hooked/"))
            await communicator.send_input({"type": "http.request", "body": b""})
            assert (await communicator.receive_output(timeout=20))["status"] == 200
            await communicator.receive_output(timeout=20)
            await communicator.send_input({"type": "http.disconnect"})
            await communicator.wait(timeout=20)

        asyncio.run(leave())
        (record,) = measured.records
        assert (record.aborted, record.status) == (True, 200)
        assert record.body_bytes > 0


async def _endless() -> Any:
    while True:
        yield b"piece"
        await asyncio.sleep(0.001)


def _fail_to_send(measured: Measured, path: str, error: Exception) -> None:
    """What servers do: close the response on the way out of the error."""
    answer = measured.begin(path)
    try:
        raise error
    finally:
        answer.close()


def test_responses_without_djangos_list_of_closers() -> None:
    closed: list[bool] = []

    class Odd(HttpResponse):
        def __init__(self) -> None:
            super().__init__("odd")
            # As an older or other framework's response would be.
            self.__dict__["_resource_closers"] = _NoList()

        def close(self) -> None:
            closed.append(True)

    class _NoList:
        def append(self, closer: Any) -> None:
            raise AttributeError

    record = Record("GET")
    ended: list[Record] = []
    response = Odd()
    bodies.watch_close(response, bodies.Ending(record, ended.append, None))
    response.close()
    assert (closed, ended) == ([True], [record])
