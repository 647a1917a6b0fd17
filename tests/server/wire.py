"""Two readers of the same bytes: ours, fed as the reactor feeds it, and a naive one that is plainly strict.

converse() joins HeadParser and Body without sockets. reference() is written straight from the grammar of RFC 9112, slow
and for one purpose only: a request that ours accepts and it reads otherwise is a request that can be smuggled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django_wsgiperf.server.bodies import Body
from django_wsgiperf.server.http1 import HEAD_END, HeadParser, HTTPError, Limits, Request

BASE = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http"}


@dataclass
class Seen:
    """One request as a reader understood it; `raw` is the part of the stream that it took for it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes

    @property
    def framing(self) -> tuple[str, str, bytes, bytes]:
        return self.method, self.target, self.body, self.raw


@dataclass
class Conversation:
    """What was read from a connection: requests, then perhaps an error's status, or the bytes of an unfinished one."""

    requests: list[Seen] = field(default_factory=list)
    status: int | None = None
    closed: bool = False

    @property
    def outcome(self) -> tuple[list[tuple[str, str, bytes, bytes]], int | None]:
        return [request.framing for request in self.requests], self.status


def converse(
    pieces: Iterable[bytes], limits: Limits | None = None, max_bytes: int = 10_000, memory_bytes: int = 50
) -> Conversation:
    """Read `pieces` as they come from one connection, as the reactor does."""
    parser = HeadParser(limits)
    conversation = Conversation()
    inbox, raw, checked = b"", b"", 0
    request: Request | None = None
    body: Body | None = None
    for piece in pieces:
        inbox += piece
        try:
            while not conversation.closed:
                if body is None:
                    while inbox.startswith(b"\r\n"):
                        inbox = inbox[2:]
                    end = inbox.find(HEAD_END) + 4
                    if end == 3:
                        checked = parser.check_start(inbox, checked) if inbox else 0
                        break
                    raw, inbox, checked = inbox[:end], inbox[end:], 0
                    request = parser.parse(raw, BASE)
                    body = Body(request.content_length, max_bytes, memory_bytes)
                rest = body.feed(inbox)
                raw += inbox[: len(inbox) - len(rest)]
                inbox = rest
                if not body.complete:
                    break
                assert request is not None
                fields = [(key, value) for key, value in request.environ.items() if key[:5] in ("HTTP_", "CONTE")]
                content = body.open().read()
                body.close()
                conversation.requests.append(Seen(request.method, request.environ["REQUEST_URI"], fields, content, raw))
                conversation.closed = not request.keep_alive
                body = None
        except HTTPError as error:
            conversation.status = error.status
            conversation.closed = True
        if conversation.closed:
            break
    if body is not None:
        body.close()
    return conversation


class Refused(Exception):
    """The naive reader understands nothing from here on."""


class Unfinished(Exception):
    """The naive reader came to the end of the bytes in the middle of a request."""


class Reference:
    """A strict reader that has all bytes before it begins."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def requests(self) -> list[Seen]:
        """The requests up to the first that is malformed or not whole."""
        found = []
        try:
            while True:
                while self.data[self.at : self.at + 2] == b"\r\n":
                    self.at += 2
                found.append(self.request())
        except (Refused, Unfinished):
            return found

    def request(self) -> Seen:
        begin = self.at
        words = self.line().split(" ")
        need(len(words) == 3)
        method, target, version = words
        need(is_token(method))
        need(target != "" and all("!" <= character <= "~" for character in target))
        need(version in ("HTTP/1.0", "HTTP/1.1"))
        fields = []
        while line := self.line():
            fields.append(self.field(line))
        lengths = [value for name, value in fields if name.lower() == "content-length"]
        codings = [value.lower() for name, value in fields if name.lower() == "transfer-encoding"]
        hosts = [value for name, value in fields if name.lower() == "host"]
        need(len(hosts) == 1 or (hosts == [] and version == "HTTP/1.0"))
        if codings:
            need(codings == ["chunked"] and lengths == [] and version == "HTTP/1.1")
            body = self.chunks()
        elif lengths:
            need(len(lengths) == 1 and lengths[0] != "" and all(digit in "0123456789" for digit in lengths[0]))
            body = self.take(int(lengths[0]))
        else:
            body = b""
        return Seen(method, target, fields, body, self.data[begin : self.at])

    def chunks(self) -> bytes:
        body = b""
        while True:
            digits, semicolon, _ = self.line().partition(";")
            digits = digits.rstrip(" \t") if semicolon else digits
            need(digits != "" and all(digit in "0123456789abcdefABCDEF" for digit in digits))
            size = int(digits, 16)
            if size == 0:
                while trailer := self.line():
                    self.field(trailer)
                return body
            body += self.take(size)
            need(self.take(2) == b"\r\n")

    def field(self, line: str) -> tuple[str, str]:
        name, colon, value = line.partition(":")
        need(colon == ":" and is_token(name))
        need(all(character == "\t" or (character >= " " and character != "\x7f") for character in value))
        return name, value.strip(" \t")

    def line(self) -> str:
        for at in range(self.at, len(self.data)):
            if self.data[at] == 0x0A:
                raise Refused
            if self.data[at] == 0x0D:
                if at + 1 == len(self.data):
                    raise Unfinished
                need(self.data[at + 1] == 0x0A)
                line = self.data[self.at : at].decode("latin-1")
                self.at = at + 2
                return line
        raise Unfinished

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Unfinished
        self.at += size
        return self.data[self.at - size : self.at]


def need(condition: bool) -> None:
    """Refuse what does not hold."""
    if not condition:
        raise Refused


def is_token(word: str) -> bool:
    """Whether `word` is a token of RFC 9110 section 5.6.2."""
    return word != "" and all(
        character.isascii() and (character.isalnum() or character in "!#$%&'*+-.^_`|~") for character in word
    )
