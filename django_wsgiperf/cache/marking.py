"""How the WSGI door gets hold of the HttpRequest that Django makes: handlers make a kind that says so in its environ.

`request_class` is Django's own place for that. The door takes the request out of the environ again: they know each
other, and would wait for the garbage collector. Until then it is held there, since a WSGI application around Django's
may have closed the response, and what the request tells forbids to keep the page.
"""

from __future__ import annotations

from typing import Any, Final, SupportsIndex

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest

DOOR: Final = "wsgiperf.cache.door"
"""The environ key that says that a door has the request in hand: no other one takes it up."""
OUTCOME: Final = "wsgiperf.page_cache"
"""The environ key for what the cache did, as Record.page_cache has it."""
REPORT: Final = "wsgiperf.report"
"""The environ key for what an access log may say of the request: a function that gives it."""
_REQUEST: Final = "wsgiperf.request"


class Marked:
    """Base of the kinds of request that are made here."""


def marked(kind: type[WSGIRequest]) -> type[WSGIRequest]:
    """The kind of request, but for the note in its environ; itself where it makes one already."""
    if issubclass(kind, Marked):
        return kind

    class MarkedRequest(kind, Marked):  # type: ignore[valid-type,misc]
        def __init__(self, environ: dict[str, Any]) -> None:
            super().__init__(environ)
            if DOOR in environ:
                environ[_REQUEST] = self

        def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
            # Pickle would look for this class by its name, and find the one whose name it bears. A copy is of that.
            reduced = super().__reduce_ex__(protocol)
            if isinstance(reduced, tuple) and reduced[1][:1] == (MarkedRequest,):
                return _blank, (kind,), *reduced[2:]
            return reduced

    MarkedRequest.__name__ = kind.__name__
    MarkedRequest.__qualname__ = kind.__qualname__
    MarkedRequest.__module__ = kind.__module__
    return MarkedRequest


def _blank(kind: type[WSGIRequest]) -> WSGIRequest:
    """One that pickle or copy is about to fill."""
    return kind.__new__(kind)


def mark_requests_of(application: object) -> None:
    """Have the application's handler make such requests: itself, or those of Django's in whatever is wrapped around."""
    WSGIHandler.request_class = marked(WSGIHandler.request_class)
    if isinstance(application, WSGIHandler):
        # A kind of its own has a class of its own, perhaps.
        application.request_class = marked(application.request_class)


def request_in(environ: dict[str, Any]) -> HttpRequest | None:
    """The request that Django has made of this environ, for the door that it came through. Gives it once."""
    request: HttpRequest | None = environ.pop(_REQUEST, None)
    return request
