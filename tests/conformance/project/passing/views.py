"""The view: a request goes to the suite's server as it came, and the answer comes back as it was given.

What a proxy has to drop is dropped (RFC 9110, 7.6.1), and nothing else.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse

ORIGIN_PORT = int(os.environ["CONFORMANCE_ORIGIN"])
LIMIT_S = 10.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})
Fields = list[tuple[str, str]]


class Passed(HttpResponse):
    """A response with the fields of another, repeated ones too, and with any status."""

    def __init__(self, status: int, fields: Fields, body: bytes) -> None:
        super().__init__(body)
        self.status_code = status
        self.fields = fields

    def items(self) -> Fields:
        return self.fields


def pass_on(request: HttpRequest) -> HttpResponse:
    connection = http.client.HTTPConnection("127.0.0.1", ORIGIN_PORT, timeout=LIMIT_S)
    try:
        target = request.get_full_path()
        connection.putrequest(request.method or "GET", target, skip_host=True, skip_accept_encoding=True)
        for name, value in end_to_end(request.headers.items()):
            connection.putheader(name, value)
        connection.putheader("Connection", "close")
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        return Passed(answer.status, end_to_end(answer.getheaders()), answer.read())
    except (OSError, http.client.HTTPException):
        return Passed(502, [("Content-Type", "text/plain")], b"the other server gave no answer\n")
    finally:
        connection.close()


def end_to_end(fields: Iterable[tuple[str, str]]) -> Fields:
    """The fields that are meant for more than the next one to read them."""
    fields = list(fields)
    named = {
        word.strip().lower() for name, value in fields if name.lower() == "connection" for word in value.split(",")
    }
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP | named]
