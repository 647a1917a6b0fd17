"""Requests and responses as the cache's rules see them: plain data, no Django, no sockets, no clock.

The doors (wsgi.py, middleware.py) fill these from what they are given; policy and key read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Headers = Iterable[tuple[str, str]]
"""Field lines in order, spelled as the application spelled them."""

_UNPREFIXED: Final = ("content-type", "content-length")


_MAX_NAMES: Final = 1_024
_MAX_NAME_CHARS: Final = 64
"""Names of clients' own making may be long; those are not remembered."""


class _FieldNames(dict[str, str | None]):
    """The field, in lower case, that an environ key stands for; None for all else in an environ.

    When there are too many it begins anew. Threads that race find the same."""

    def __missing__(self, key: str) -> str | None:
        name: str | None = None
        if key.startswith("HTTP_"):
            name = key[5:].lower().replace("_", "-")
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = key.lower().replace("_", "-")
        if len(key) <= _MAX_NAME_CHARS:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[key] = name
        return name


_name_of: Final = _FieldNames().__getitem__


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` is decoded as PEP 3333 has it (each character a byte), `query` is as it came."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    fields: Mapping[str, str]
    """Field name in lower case -> value; several lines of one field are joined by commas."""
    script: int = 0
    """How many characters of the path are of the place where the application is mounted."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any], *, scheme: str | None = None, host: str | None = None) -> Request:
        """The request in a WSGI environ (PEP 3333). `scheme` and `host` stand in where a trusted proxy knows better."""
        # All that is no field comes under None.
        fields: dict[Any, str] = dict(zip(map(_name_of, environ), environ.values(), strict=True))
        fields.pop(None, None)
        for name in _UNPREFIXED:
            # Servers may set these to nothing where the request has none (PEP 3333, environ variables).
            if not fields.get(name, " "):
                del fields[name]
        script = environ.get("SCRIPT_NAME", "")
        return cls(
            environ["REQUEST_METHOD"],
            scheme or environ.get("wsgi.url_scheme", "http"),
            host if host is not None else environ_host(environ),
            # An empty path means the root to Django as well.
            script + (environ.get("PATH_INFO", "") or "/"),
            environ.get("QUERY_STRING", ""),
            fields,
            len(script),
        )


def environ_host(environ: Mapping[str, Any]) -> str:
    """The authority asked for: Host, else the server's own name and port (PEP 3333, URL reconstruction)."""
    host = environ.get("HTTP_HOST")
    if host is not None:
        return str(host)
    return f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"


@dataclass(slots=True)
class Response:
    """A response with its whole body, or with none yet. Nobody changes it; to freeze it takes longer than all else."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body_bytes: int | None
    """The length of the body that the application gave; None when it is not known because it streams."""

    def index(self) -> dict[str, str]:
        """Field name in lower case -> value, several lines joined by commas (RFC 9110, 5.3)."""
        return index(self.headers)


@dataclass(frozen=True, slots=True)
class Signals:
    """What the doors know of how a response was made and the message itself does not show. Each forbids storing."""

    csrf_used: bool = False
    """The page holds a CSRF token, or the token was rotated."""
    session_used: bool = False
    """A session that the request had was read or written, or it was made for somebody who is logged in otherwise."""
    messages_shown: bool = False
    """It shows messages that are for this visitor alone."""
    csp_nonce: bool = False
    """A nonce was handed out for this one response."""
    time_zone: bool = False
    """It was made while another time zone than the site's was active."""
    language: bool = False
    """It was made in another language than the one that its key has."""
    streaming: bool = False
    """The body is produced while it is sent, or is a file."""
    debug: bool = False
    """A page made for developers."""
    excluded: bool = False
    """An address that is never cached: the admin, or one that the settings name."""
    failed: bool = False
    """The application raised, or its body ended early."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a view told this cache, and only this cache. None leaves the choice to the response's own fields.

    Lifetimes here go before those of Cache-Control and Expires, which stay for browsers; `no-store`, `no-cache` and
    `private` are still obeyed."""

    never: bool = False
    lifetime_s: float | None = None
    swr_s: float | None = None
    sie_s: float | None = None
    keep_s: float | None = None
    tags: tuple[str, ...] = ()
    vary_cookies: tuple[str, ...] | None = None
    """The only cookies that the response depends on; None where the view did not say."""
    raw_language: bool = False
    """The response depends on Accept-Language beyond the language that the application chooses by it."""


NO_SIGNALS: Final = Signals()
NO_ANNOTATION: Final = Annotation()


def index(headers: Headers) -> dict[str, str]:
    """Field name in lower case -> value, several lines joined by commas (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
