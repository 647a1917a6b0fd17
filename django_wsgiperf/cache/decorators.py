"""Decorators by which a view says what the response cache may do with its pages. They only annotate: request.wsgiperf.

What the response says to browsers and proxies stays as it is, and `no-store` and `private` in it are obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from .annotations import check_tag, page_cache_of

View = TypeVar("View", bound=Callable[..., Any])


def cache_response(
    ttl: float | None = None,
    *,
    swr: float | None = None,
    sie: float | None = None,
    keep: float | None = None,
    tags: Iterable[str] = (),
    vary_cookies: Iterable[str] | None = None,
    raw_language: bool = False,
) -> Callable[[View], View]:
    """Keep the view's pages for `ttl` seconds; None leaves that to their headers.

    For `swr` seconds more they are used while a new one is made in the background, for `sie` when the view fails, for
    `keep` they are there to ask the view whether they still hold. `tags` are what they can be purged by.
    `vary_cookies` are the only cookies that they depend on: other ones, even the session's, do not make them
    somebody's own, as long as the view does not use the session. `raw_language` is for views that read Accept-Language
    themselves: each value of it has its page, not each language that Django chooses by it. Raises TypeError or
    ValueError for what makes no sense."""
    for name, seconds in (("ttl", ttl), ("swr", swr), ("sie", sie), ("keep", keep)):
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float))):
            raise TypeError(f"{name} is a number of seconds, not {seconds!r}: write @cache_response({name}=60)")
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise ValueError(f"{name} is a number of seconds from 0 on, not {seconds!r}")
    if isinstance(tags, str):
        raise TypeError(f"tags is a list of texts, not the text {tags!r}: write [{tags!r}]")
    if isinstance(vary_cookies, str):
        raise TypeError(f"vary_cookies is a list of names, not the text {vary_cookies!r}: write [{vary_cookies!r}]")
    checked = tuple(map(check_tag, tags))
    cookies = None if vary_cookies is None else tuple(vary_cookies)

    def annotate(request: HttpRequest) -> None:
        notes = page_cache_of(request)
        if ttl is not None:
            notes.ttl = ttl
        if swr is not None:
            notes.swr = swr
        if sie is not None:
            notes.sie = sie
        if keep is not None:
            notes.keep = keep
        notes.tag(*checked)
        if cookies is not None:
            notes.vary_on_cookies(cookies)
        if raw_language:
            notes.raw_language = True

    def finish(response: HttpResponseBase) -> None:
        if cookies:
            patch_vary_headers(response, ["Cookie"])
        if raw_language:
            patch_vary_headers(response, ["Accept-Language"])

    return _decorator(annotate, finish)


def never_cache_response(view: View) -> View:
    """Never keep the view's pages, whatever their headers say to browsers and proxies."""
    return _decorator(lambda request: page_cache_of(request).never(), lambda response: None)(view)


def _decorator(
    annotate: Callable[[HttpRequest], None], finish: Callable[[HttpResponseBase], None]
) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def wrapped_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                annotate(request)
                response = await view(request, *args, **kwargs)
                finish(response)
                return response

            return wrapped_async  # type: ignore[return-value]

        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            annotate(request)
            response = view(request, *args, **kwargs)
            finish(response)
            return response

        return wrapped  # type: ignore[return-value]

    return decorate
