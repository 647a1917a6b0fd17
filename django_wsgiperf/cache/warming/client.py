"""One kept-alive HTTP/1.1 connection at a time, on which a page is asked for within a time limit in all.

http.client speaks the protocol; what is added is where to connect, a time-out for the whole exchange instead of for
each wait, and a bound on the body. One client is one thread's.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .address import Page, Place

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_PIECE_BYTES: Final = 65_536
_ENDED_EARLY: Final = "the answer ended early"


class FetchError(Exception):
    """There was no answer, or no whole one; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `fields` has names in lower case; several lines of one field are joined by commas."""

    status: int
    reason: str
    fields: Mapping[str, str]
    body: bytes
    """Empty where it was not wanted."""
    body_bytes: int


class Client:
    """Asks for pages at `place`, or else where their addresses say, on a connection that is kept for the next one."""

    def __init__(self, place: Place | None = None, *, timeout_s: float = 30.0) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None
        self._connection: _Connection | None = None
        self._leads_to: tuple[Place, str] | None = None

    def get(self, page: Page, fields: Mapping[str, str], *, keep_body: bool = False) -> Answer:
        """Ask for the page. Redirects are answers. Raises FetchError."""
        deadline_s = time.monotonic() + self._timeout_s
        place = self._place or page.place()
        headers = {"Host": page.authority, **fields}
        if self._place is not None and page.scheme != place.scheme:
            headers.setdefault("X-Forwarded-Proto", page.scheme)
        is_reused = self._connect_to(place, page.hostname)
        try:
            try:
                return self._exchange(page, headers, deadline_s, keep_body)
            except (http.client.RemoteDisconnected, ConnectionError):
                # A server may end a kept connection at any moment; a new one tells whether it is that.
                self.close()
                if not is_reused:
                    raise
                self._connect_to(place, page.hostname)
                return self._exchange(page, headers, deadline_s, keep_body)
        except BaseException as error:
            self.close()
            why = self._why(error)
            if why is None:
                raise
            raise FetchError(why) from error

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._leads_to = None

    def _connect_to(self, place: Place, server_name: str) -> bool:
        """Have a connection to the place; whether it is one that was used before."""
        if self._connection is not None and self._leads_to == (place, server_name):
            return self._connection.sock is not None
        self.close()
        if place.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        self._connection = _Connection(place, server_name, self._tls if place.scheme == "https" else None)
        self._leads_to = (place, server_name)
        return False

    def _exchange(self, page: Page, headers: Mapping[str, str], deadline_s: float, keep_body: bool) -> Answer:
        connection = self._connection
        assert connection is not None
        connection.deadline_s = deadline_s
        if connection.sock is not None:
            connection.sock.deadline_s = deadline_s
        connection.putrequest("GET", page.target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        pieces, size = [], 0
        while piece := response.read(_PIECE_BYTES):
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise FetchError(f"the answer is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")
            if keep_body:
                pieces.append(piece)
        if response.length:
            # http.client notices this only when it reads all at once.
            raise FetchError(_ENDED_EARLY)
        fields: dict[str, str] = {}
        for name, value in response.getheaders():
            name = name.lower()
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return Answer(response.status, response.reason, fields, b"".join(pieces), size)

    def _why(self, error: BaseException) -> str | None:
        """Why there is no answer, in few words; None for what is no matter of the network."""
        match error:
            case FetchError():
                return str(error)
            case TimeoutError():
                return f"no whole answer within {self._timeout_s:g} s"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not accepted: {error.verify_message}"
            case http.client.RemoteDisconnected() | ConnectionError() if not isinstance(error, ConnectionRefusedError):
                return "the connection was closed without an answer"
            case http.client.IncompleteRead():
                return _ENDED_EARLY
            case socket.gaierror():
                return "its host is not known"
            case OSError():
                return (error.strerror or str(error)).lower()
            case http.client.HTTPException():
                return f"no HTTP answer ({type(error).__name__})"
            case _:
                return None


class _Connection(http.client.HTTPConnection):
    """A connection to a Place, whose socket keeps to a deadline."""

    sock: Any

    def __init__(self, place: Place, server_name: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(place.host or "localhost", place.port or None)
        self._place = place
        self._server_name = server_name
        self._own_tls = tls
        self.deadline_s = 0.0

    def connect(self) -> None:
        left_s = _left_s(self.deadline_s)
        if self._place.socket_file:
            raw = socket.socket(socket.AF_UNIX)
            try:
                raw.settimeout(left_s)
                raw.connect(self._place.socket_file)
            except BaseException:
                raw.close()
                raise
        else:
            raw = socket.create_connection((self._place.host, self._place.port), timeout=left_s)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._own_tls is not None:
            try:
                raw.settimeout(_left_s(self.deadline_s))
                raw = self._own_tls.wrap_socket(raw, server_hostname=self._server_name)
            except BaseException:
                raw.close()
                raise
        self.sock = _TimedSocket(raw, self.deadline_s)


class _TimedSocket:
    """What http.client wants of a socket; every wait is cut to what is left until `deadline_s`.

    Closed only when its reader is as well: http.client closes the connection before it has read the last answer."""

    def __init__(self, raw: socket.socket, deadline_s: float) -> None:
        self._raw = raw
        self.deadline_s = deadline_s
        self._readers = 0
        self._is_closed = False

    def sendall(self, data: bytes) -> None:
        self._raw.settimeout(_left_s(self.deadline_s))
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def receive(self, buffer: Any) -> int:
        self._raw.settimeout(_left_s(self.deadline_s))
        return self._raw.recv_into(buffer)

    def close(self) -> None:
        self._is_closed = True
        self._close_when_read()

    def reader_closed(self) -> None:
        self._readers -= 1
        self._close_when_read()

    def _close_when_read(self) -> None:
        if self._is_closed and not self._readers:
            self._raw.close()


class _Reader(io.RawIOBase):
    """The incoming side of a _TimedSocket."""

    def __init__(self, owner: _TimedSocket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.reader_closed()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
