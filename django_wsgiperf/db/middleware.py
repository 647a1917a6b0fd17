"""`ConnectionPoolMiddleware`: connections go back when the response leaves it, not when the last byte has been read.

It also tells the pools which request a connection is for. The policies themselves are in release.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from . import activity, release

_release_all = sync_to_async(release.release_all, thread_sensitive=True)
_relabel = sync_to_async(release.relabel, thread_sensitive=True)


class ConnectionPoolMiddleware:
    """Put it before Django's own middleware, so that they are done when it gives the connections back.

    Works under WSGI and ASGI, with synchronous and asynchronous views."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._serve_async(request)
        work = activity.Activity(f"{request.method} before it is routed")
        token = activity.current.set(work)
        response: HttpResponseBase | None = None
        try:
            response = self.get_response(request)
            return response
        finally:
            activity.current.reset(token)
            if response is not None and response.streaming:
                _watch_body(response, work)
            if not work.holds:
                release.release_all(streaming=response is not None and response.streaming)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        work = activity.Activity(f"{request.method} before it is routed")
        token = activity.current.set(work)
        response: HttpResponseBase | None = None
        try:
            response = await self.get_response(request)
            return response
        finally:
            activity.current.reset(token)
            if response is not None and response.streaming:
                _watch_body(response, work)
            if not work.holds and work.leases:
                await _release_all(streaming=response is not None and response.streaming)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any) -> None:
        """The request is routed: its connections can be named, and the view may ask to keep them."""
        work = activity.current.get()
        if work is None:
            return
        match = request.resolver_match
        # The path itself may hold a secret, such as the token of a password reset.
        name = (match.view_name or match.route) if match is not None else "unrouted"
        work.label = f"{request.method} {name}"
        work.holds = getattr(view, release.HOLD, False) is True
        if work.leases and not self.is_async:
            release.relabel(work.label)


def _watch_body(response: HttpResponseBase, work: activity.Activity) -> None:
    if not isinstance(response, StreamingHttpResponse) or isinstance(response, FileResponse):
        return  # A file's bytes come from no database, and the server may send them by itself.
    if response.is_async:
        response.streaming_content = release.released_between_chunks_async(aiter(response.streaming_content), work)  # type: ignore[arg-type]
    else:
        response.streaming_content = release.released_between_chunks(iter(response.streaming_content), work)  # type: ignore[arg-type]
