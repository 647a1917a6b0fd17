"""What a WSGI application answers, held back until it is decided what the client gets (PEP 3333).

A body that is there as a whole is read, up to the limit; one that streams, or is a file, or has not even begun, is left
alone. Knows nothing of caching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

HeaderList = list[tuple[str, str]]
StartResponse = Callable[..., Callable[[bytes], Any]]


class Capture:
    """One call of the application. `start_response` is the server's, used only when the answer is passed on."""

    status = ""
    result: Iterable[bytes] = ()
    _write: Callable[[bytes], Any] | None = None
    _written: list[bytes] | None = None

    def __init__(
        self, start_response: StartResponse, limit: int, headers_of: Callable[[HeaderList], HeaderList]
    ) -> None:
        self.start_response = start_response
        self.headers: HeaderList = []
        self._limit = limit
        self._headers_of = headers_of
        """What becomes of the head of a body that write() has made too large to hold back."""

    @property
    def is_committed(self) -> bool:
        """Whether the head has been passed on."""
        return self._write is not None

    def start(self, status: str, headers: HeaderList, exc_info: Any = None) -> Callable[[bytes], Any]:
        """What the application gets for start_response()."""
        if self._write is not None:
            return self.start_response(status, headers, exc_info)
        if exc_info is None and self.status:
            raise AssertionError("start_response() was called a second time without exc_info")
        # What an error takes the place of has reached nobody.
        self._written = None
        self.status = status
        self.headers = list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """What start_response() gives the application (PEP 3333, the write() callable)."""
        if self._write is not None:
            self._write(data)
            return
        if self._written is None:
            self._written = []
        self._written.append(data)
        if sum(map(len, self._written)) > self._limit:
            self.commit(self._headers_of(self.headers))

    def call(self, application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> bool:
        """Call the application, until it has said its head. Whether its body `is_whole`."""
        result = self.result = application(environ, self.start)
        if not self.status:
            # It says it with the first piece.
            result = self.result = _Begun(result, -1)
        # Mostly Django's own, which needs no further look.
        return getattr(result, "streaming", None) is False or self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether the body is there already, and reading it runs none of the application."""
        result = self.result
        return getattr(result, "streaming", None) is False or isinstance(result, (list, tuple))

    def whole(self) -> bytes | None:
        """The body, where it `is_whole`; None where it is too large, or has been passed on."""
        if self._write is not None:
            return None
        body = b"".join([*self._written, *self.result] if self._written else self.result)
        return body if len(body) <= self._limit else None

    def body(self) -> bytes | None:
        """The body, where it is there as a whole and not too large; None leaves it alone."""
        if self.is_whole:
            return self.whole()
        result = self.result
        if getattr(result, "streaming", None) or self._write is not None or isinstance(result, _Begun):
            return None
        length = next((value for name, value in self.headers if name.lower() == "content-length"), "")
        if not length.isdecimal() or int(length) > self._limit or hasattr(result, "filelike"):
            return None
        # Somebody's wrapper around a body whose length is known, unless it is longer than it says.
        self.result = begun = _Begun(result, self._limit - sum(map(len, self._written or ())))
        if not begun.is_all:
            return None
        self.result = _Read(begun.first, begun.close)
        return b"".join([*(self._written or ()), *begun.first])

    def commit(self, headers: HeaderList) -> Iterable[bytes]:
        """Pass it on with this head: what the server is to be given."""
        if self._write is None:
            start_response = self.start_response
            self._write = start_response(self.status, headers)
            if self._written:
                for piece in self._written:
                    self._write(piece)
                self._written = None
        return self.result

    def close(self) -> None:
        """It is not passed on."""
        close = getattr(self.result, "close", None)
        if close is not None:
            close()


class _Begun:
    """An iterable of which pieces were taken, until they are more than `enough` bytes: the first one at least.

    One that raises meanwhile is closed, since the server never sees it."""

    def __init__(self, result: Iterable[bytes], enough: int) -> None:
        self._result = result
        self.first: list[bytes] = []
        self.is_all = False
        try:
            self._rest = iter(result)
            for piece in self._rest:
                self.first.append(piece)
                enough -= len(piece)
                if enough < 0:
                    break
            else:
                self.is_all = True
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        yield from self.first
        yield from self._rest

    def close(self) -> None:
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


class _Read(list[bytes]):
    """Pieces that were read already, and what has to be called when they are no longer needed."""

    def __init__(self, pieces: list[bytes], close: Callable[[], Any] | None) -> None:
        super().__init__(pieces)
        self._close = close

    def close(self) -> None:
        if self._close is not None:
            self._close()
