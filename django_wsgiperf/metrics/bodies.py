"""The end of a request: when its body has been made, sent and closed, or given up, its record is complete.

A stream's pieces are made after the middleware has returned, in whatever context the server has; while one is made,
`current` is the request's record. What the server does in between, and after, is the writing.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from threading import get_ident
from time import perf_counter_ns, thread_time_ns
from typing import Any
from weakref import ref

from django.http import FileResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse

from .instruments_views import note_exception
from .record import Record, current

_BODILESS = (204, 304)

Done = Callable[[Record], None]


class Ending:
    """Called once when the response is closed. A response that nobody closes ends when it is collected."""

    __slots__ = ("__weakref__", "body", "done", "error_before", "record")

    def __init__(self, record: Record, done: Done, error_before: BaseException | None) -> None:
        self.record = record
        self.done = done
        self.body: Body | None = None
        self.error_before = error_before
        """What was being handled when the request began, which is then not the request's."""

    def __call__(self) -> None:
        record = self.record
        if record.total_ns >= 0:
            return
        now_ns = perf_counter_ns()
        if record.cpu_began_ns >= 0 and get_ident() == record.thread_id:
            record.cpu_ns = thread_time_ns() - record.cpu_began_ns
        record.write_ns = now_ns - record.began_ns - record.ttfb_ns
        # Servers close a response on their way out of the exception that told them of the client's end.
        error = sys.exception()
        if error is not None and error is not self.error_before:
            self._note(error)
        if self.body is not None:
            self._note_body(error)
        if record.method == "HEAD":
            # What the view made, and a file's Content-Length, is what a GET would be sent.
            record.body_bytes = 0
        record.end(now_ns)
        self.done(record)

    def __del__(self) -> None:
        if self.record.total_ns < 0:
            # Collected while anything may have been at work.
            self.error_before = sys.exception()
            self()

    def _note_body(self, error: BaseException | None) -> None:
        record, body = self.record, self.body
        assert body is not None
        self.body = None
        if body.is_by_itself and not body.made_ns:
            # Nobody has looked at its pieces: how long making them took, how large they were, how they ended.
            record.write_ns = 0
            record.body_bytes = -1
            return
        record.write_ns = max(0, record.write_ns - body.made_ns)
        record.body_bytes = body.sent_bytes
        if not body.ended and error is None and record.method != "HEAD" and record.status not in _BODILESS:
            record.aborted = True

    def _note(self, error: BaseException) -> None:
        if self.body is not None and self.body.failure is error:
            return
        if is_end_of_client(error):
            self.record.aborted = True
        elif getattr(type(error), "status_code", None) == 504:
            self.record.status = 504


def is_end_of_client(error: BaseException) -> bool:
    """Whether it says that nobody listens any more: `serve`'s own says so of itself."""
    return isinstance(error, (ConnectionError, GeneratorExit)) or bool(getattr(type(error), "client_is_gone", False))


class Body:
    """Common to streams of both kinds: what has come of the body so far."""

    __slots__ = ("end", "ended", "failure", "is_by_itself", "made_ns", "record", "sent_bytes")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.end: Callable[[], Ending | None] = _nothing
        """Gives the ending that has this body; weak, so that both go with the response that nobody closes."""
        self.made_ns = 0
        self.sent_bytes = 0
        self.ended = False
        """It came to its end, one way or another."""
        self.failure: BaseException | None = None
        self.is_by_itself = False
        """The response's class has an __iter__() of its own, which may pass this body by."""

    def note(self, began_ns: int, error: BaseException) -> None:
        """The iterator that makes the body raised something: that it has no more is no failure."""
        self.made_ns += perf_counter_ns() - began_ns
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self.ended = True
        elif isinstance(error, Exception):
            self.ended = True
            self.failure = error
            note_exception(self.record, error)
            # There is no more to come, and Django's handler for ASGI does not close such a response: it would be one
            # that runs until its traceback is collected.
            ending = self.end()
            if ending is not None:
                ending()


def _nothing() -> None:
    """Of a body that no ending has yet."""


class TimedBody(Body):
    """A stream's iterator: the time for each piece is the application's."""

    __slots__ = ("_pieces",)

    def __init__(self, record: Record, pieces: Iterator[bytes]) -> None:
        super().__init__(record)
        self._pieces = pieces

    def __iter__(self) -> TimedBody:
        return self

    def __next__(self) -> bytes:
        before = current.get()
        current.set(self.record)
        began_ns = perf_counter_ns()
        try:
            piece = next(self._pieces)
        except BaseException as error:
            self.note(began_ns, error)
            raise
        finally:
            current.set(before)
        self.made_ns += perf_counter_ns() - began_ns
        self.sent_bytes += len(piece)
        return piece


class TimedAsyncBody(Body):
    """The same for an asynchronous one."""

    __slots__ = ("_pieces",)

    def __init__(self, record: Record, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(record)
        self._pieces = pieces

    def __aiter__(self) -> TimedAsyncBody:
        return self

    async def __anext__(self) -> bytes:
        before = current.get()
        current.set(self.record)
        began_ns = perf_counter_ns()
        try:
            piece = await anext(self._pieces)
        except BaseException as error:
            self.note(began_ns, error)
            raise
        finally:
            current.set(before)
        self.made_ns += perf_counter_ns() - began_ns
        self.sent_bytes += len(piece)
        return piece

    async def aclose(self) -> None:
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


def length_of(response: Any) -> int:
    """Bytes of the body of a response that is no stream."""
    try:
        # Its parts, which `content` would join.
        [only] = response._container
    except (AttributeError, TypeError, ValueError):
        return len(response.content)
    return len(only) if type(only) is bytes else len(response.content)


def watch_stream(response: HttpResponseBase, record: Record, ending: Ending) -> None:
    """Have the pieces of a stream's body timed on their way."""
    record.streaming = True
    record.first_byte_parts = record.accounts()
    # A file's bytes may be sent by the server without anybody looking at them.
    if isinstance(response, FileResponse) and response.file_to_stream is not None:
        length = response.headers.get("Content-Length", "")
        record.body_bytes = int(length) if length.isascii() and length.isdigit() else -1
    elif isinstance(response, StreamingHttpResponse):
        body: Body
        if response.is_async:
            body = TimedAsyncBody(record, response.streaming_content)  # type: ignore[arg-type]
        else:
            body = TimedBody(record, response.streaming_content)  # type: ignore[arg-type]
        # It has no close(), so that the iterator's own is called once, by whom it was called before.
        response.streaming_content = body
        body.is_by_itself = type(response).__iter__ is not StreamingHttpResponse.__iter__
        ending.body = body
        body.end = ref(ending)


def watch_close(response: Any, ending: Ending) -> None:
    """Have `ending` called when a response that keeps no list of what to close is closed."""
    close = response.close

    def close_and_end() -> None:
        try:
            close()
        finally:
            ending()

    response.close = close_and_end
