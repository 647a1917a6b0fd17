"""HTTP/1.1 request heads: bytes to a WSGI environ, with every rule that keeps framing unambiguous.

No sockets and no threads. llhttp (through httptools) checks the grammar of a head; this module reads it, and adds the
policy that a server in front of an application needs and llhttp leaves open (RFC 9112 and 9110; PEP 3333).
Where two readers could understand a request differently it is refused, and its connection has to be closed, for
nobody knows where the next one begins. What single fields mean is in fields.py, bodies are in bodies.py, responses in
gateway.py, proxies in proxy.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .fields import CHUNKED, Environ, HTTPError, body_length, combine, expects_continue, split_host, unquote

__all__ = ["CHUNKED", "HEAD_END", "METHODS", "Environ", "HTTPError", "HeadParser", "Limits", "Request", "split_host"]

HEAD_END = b"\r\n\r\n"

# What llhttp knows of HTTP. CONNECT is missing (this server is no tunnel), and so is PRI, the preface of HTTP/2.
_METHOD_NAMES = """
    GET HEAD POST PUT DELETE OPTIONS TRACE PATCH QUERY SEARCH COPY MOVE MKCOL PROPFIND PROPPATCH LOCK UNLOCK ACL
    BIND REBIND UNBIND LINK UNLINK REPORT CHECKOUT MERGE MKACTIVITY MKCALENDAR NOTIFY SUBSCRIBE UNSUBSCRIBE
    M-SEARCH PURGE SOURCE
"""
METHODS = frozenset(_METHOD_NAMES.split())
_METHOD_BYTES_MAX = 256

_VERSION = re.compile(r"HTTP/[0-9]\.[0-9]\Z")
_ABSOLUTE_FORM = re.compile(r"https?://([^/?]*)(.*)\Z", re.IGNORECASE)

# For check_start: what may not be in a method or a target, and every way in which a version can begin.
_NOT_TOKEN = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_NOT_VISIBLE = re.compile(rb"[^!-~]")
_VERSION_START = re.compile(rb"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.(?:[0-9](?:\r\n?)?)?)?)?)?)?)?)?)?\Z")
_SPOKEN = (b"HTTP/1.1", b"HTTP/1.0")

_CACHED_NAMES_MAX = 1024
_CACHED_NAME_BYTES_MAX = 64
_CACHED_HOSTS_MAX = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on a request head: bytes of the whole (with its empty line), number of fields, bytes of the target."""

    head_bytes: int = 32_768
    head_fields: int = 100
    target_bytes: int = 8_190


class Request:
    """A parsed head: `environ` is complete but for the body's variables."""

    # Filled in by HeadParser.parse(): an __init__ of seven arguments would cost a tenth of the whole parse.
    __slots__ = ("content_length", "environ", "expect_continue", "http10", "keep_alive", "method", "path")

    environ: Environ
    method: str
    path: bytes
    """The path as sent, still percent-encoded, without the query: what of it may be shown in a log."""
    keep_alive: bool
    """The client will read another response on this connection."""
    http10: bool
    content_length: int
    """Bytes of body that follow, or CHUNKED."""
    expect_continue: bool
    """A body follows, and its client waits for `100 Continue` before it sends it."""


class HeadParser:
    """Turns whole heads (up to and with the empty line) into requests; one per reactor, used by its leader only."""

    __slots__ = ("_hosts", "_keys", "_limits", "_max_bytes", "_max_lines")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._max_bytes = self._limits.head_bytes
        self._max_lines = self._limits.head_fields + 3  # the request line, and what split() finds after the last one
        self._keys: dict[str, str | None] = {}
        self._hosts: set[str] = set()

    def check_start(self, data: bytes | bytearray, checked: int = 0) -> int:
        """Refuse, before its end has come, what can never become a head. `data` begins with the request line.

        `checked` is what the last call for this head gave, so that the work is proportional to the new bytes only.
        Its meaning is private: -n for n good bytes of an unfinished request line, n once the line is complete.
        Raises HTTPError 400, 414, 431, 501 or 505: the one that the first wrong byte deserves, whatever follows it."""
        size = len(data)
        end = min(size, self._max_bytes)
        if checked <= 0:
            checked = self._check_line(data, -checked, end)
        if checked > 0:
            # CR and LF only as a pair; a CR at either border is judged together with its neighbour.
            start = checked - 1 if data[checked - 1] == 0x0D else checked
            stop = end - 1 if data[end - 1] == 0x0D else end
            if not data.count(b"\r", start, stop) == data.count(b"\n", start, stop) == data.count(b"\r\n", start, stop):
                raise HTTPError(400, "lines must end with CR LF")
            checked = end
        if size > end:
            raise HTTPError(431, f"the request head is longer than {end} bytes")
        return checked

    def _check_line(self, data: bytes | bytearray, seen: int, end: int) -> int:
        """Check the request line in data[:end], the first `seen` bytes of which are known to be good."""
        space = data.find(b" ", 0, min(end, _METHOD_BYTES_MAX + 1))
        if space < 0:
            if data == b"\r":
                return 0  # perhaps the first half of an empty line before the request, which is no part of it
            if _NOT_TOKEN.search(data, 0, min(end, _METHOD_BYTES_MAX + 1)):
                raise HTTPError(400, "not an HTTP/1.1 request")
            if end > _METHOD_BYTES_MAX:
                raise HTTPError(501, f"no method is longer than {_METHOD_BYTES_MAX} bytes")
            return -end
        if space == 0 or (seen <= space and _NOT_TOKEN.search(data, 0, space)):
            raise HTTPError(400, "not an HTTP/1.1 request")
        target = space + 1
        # A version and its line end have ten bytes, so the blank before it is no further behind.
        blank = data.find(b" ", max(target, seen - 10), end)
        stop = end if blank < 0 else blank
        target_limit = target + self._limits.target_bytes
        if blank == target or _NOT_VISIBLE.search(data, max(target, seen), min(stop, target_limit)):
            raise HTTPError(400, "malformed request target")
        if stop > target_limit:
            raise HTTPError(414, f"the request target is longer than {self._limits.target_bytes} bytes")
        if blank < 0:
            return -end
        version = data[blank + 1 : min(end, blank + 11)]
        if not _VERSION_START.match(version):
            raise HTTPError(400, "malformed request line")
        if len(version) >= 9 and version[:8] not in _SPOKEN:
            raise HTTPError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        return blank + 11 if len(version) == 10 else -end

    def parse(self, head: bytes, base: Environ) -> Request:
        """The request in `head`, its environ begun as a copy of `base` (which holds no HTTP_ or CONTENT_ variable).

        SCRIPT_NAME is the base's affair: it belongs there as "", since PATH_INFO is always the whole path.
        Raises HTTPError with the status that check_start() gives, if it refuses the head, else another."""
        try:
            text = head.decode("latin-1")
            lines = text.split("\r\n")
            # One split refuses doubled blanks, HTTP/0.9 lines and anything after the version.
            try:
                method, uri, version = lines[0].split(" ")
            except ValueError:
                raise HTTPError(400, "malformed request line") from None
            if version == "HTTP/1.1":
                http10 = False
            elif version == "HTTP/1.0":
                http10 = True
            else:
                _refuse_version(version)
            if method not in METHODS:
                raise HTTPError(501, "this server does not implement the request's method")
            if len(head) > self._max_bytes:
                raise HTTPError(431, f"the request head is longer than {self._max_bytes} bytes")
            if len(lines) > self._max_lines:
                raise HTTPError(431, f"more than {self._limits.head_fields} header fields")
            if len(uri) > self._limits.target_bytes:
                raise HTTPError(414, f"the request target is longer than {self._limits.target_bytes} bytes")
            try:
                # A new parser for each head: it takes no state of one client's bytes to another's. It calls nobody
                # back, for that costs more than reading the fields here.
                HttpRequestParser(None).feed_data(head)
            except HttpParserUpgrade:
                pass  # RFC 9110 section 7.8: an upgrade may be ignored, and the request is answered as it stands
            except HttpParserError as error:
                raise HTTPError(400, f"malformed request: {error}") from None

            # From here on each line is known to be a token, a colon, and a value without control characters but tabs.
            environ = base.copy()
            keys = self._keys
            for line in lines[1:-2]:
                name, value = line.split(":", 1)
                try:
                    key = keys[name]
                except KeyError:
                    key = self._learn(name)
                if key is None:
                    continue
                value = value.strip(" \t")
                environ[key] = combine(key, environ[key], value) if key in environ else value

            host = environ.get("HTTP_HOST")
            if host not in self._hosts:
                self._check_host(host, http10)
            target = uri if uri[0] == "/" else self._origin_form(method, uri, environ)
            if "#" in uri:
                raise HTTPError(400, "a request target has no fragment")
            path, _, query = target.partition("?")
            environ["REQUEST_METHOD"] = method
            environ["SERVER_PROTOCOL"] = version
            environ["RAW_URI"] = environ["REQUEST_URI"] = uri
            environ["PATH_INFO"] = unquote(path) if "%" in path else path
            environ["QUERY_STRING"] = query

            keep_alive = not http10
            if "HTTP_CONNECTION" in environ:
                connection = environ["HTTP_CONNECTION"]
                if http10 or connection != "keep-alive":
                    options = [option.strip(" \t") for option in connection.lower().split(",")]
                    keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
            length = 0
            if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
                length = body_length(environ, http10)
            request = Request()
            request.environ = environ
            request.method = method
            request.path = path.encode("ascii")
            request.keep_alive = keep_alive
            request.http10 = http10
            request.content_length = length
            request.expect_continue = (
                "HTTP_EXPECT" in environ and expects_continue(environ["HTTP_EXPECT"]) and length != 0 and not http10
            )
        except HTTPError:
            # A head that came in pieces was refused at its first wrong byte; one that came at once is no different.
            self.check_start(head)
            raise
        return request

    def _learn(self, name: str) -> str | None:
        """The environ key of a field name; None for names that are dropped."""
        key: str | None = name.upper().replace("-", "_")
        if "_" in name or key == "PROXY":
            # X_Forwarded_For and X-Forwarded-For share one variable: a way around a proxy that cleans only one.
            # HTTP_PROXY would be taken for the configuration of an HTTP client ("httpoxy").
            key = None
        elif key != "CONTENT_LENGTH" and key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        if len(name) <= _CACHED_NAME_BYTES_MAX:
            if len(self._keys) >= _CACHED_NAMES_MAX:
                self._keys.clear()  # somebody sends random names: start again rather than be full of them
            self._keys[name] = key
        return key

    def _check_host(self, host: str | None, http10: bool) -> None:
        """Raise HTTPError 400 unless `host` is one that RFC 9110 section 7.2 allows."""
        if host is None:
            if http10:
                return
            raise HTTPError(400, "an HTTP/1.1 request needs a Host field")
        split_host(host)
        if len(self._hosts) >= _CACHED_HOSTS_MAX:
            self._hosts.clear()
        self._hosts.add(host)

    def _origin_form(self, method: str, uri: str, environ: Environ) -> str:
        """The origin form of a target in absolute or asterisk form (RFC 9112 section 3.2)."""
        if uri == "*" and method == "OPTIONS":
            return "/"  # PEP 3333 knows no other path for the server as a whole; RAW_URI has the asterisk
        absolute = _ABSOLUTE_FORM.match(uri)
        if absolute is None:
            raise HTTPError(400, "malformed request target")
        # The target names the host that was meant; the Host field is to be ignored (RFC 9112 section 3.2.2).
        host, rest = absolute.groups()
        self._check_host(host, http10=False)
        environ["HTTP_HOST"] = host
        return rest if rest.startswith("/") else f"/{rest}"


def _refuse_version(version: str) -> NoReturn:
    if _VERSION.match(version):
        raise HTTPError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    raise HTTPError(400, "malformed request line")
