"""`request.wsgiperf.cache`: what a view tells the response cache of its page, while it makes it.

Only notes; the doors read them when the response is there. Where the cache is off, or its doors are not in use, nobody
does, and nothing changes. The response's own headers, which browsers and proxies go by, are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from django.http import HttpRequest

from django_wsgiperf import request_state

from .messages import NO_ANNOTATION, Annotation
from .tags import ADDRESS_MARK

MAX_TAG_CHARS = 256


class _Seconds:
    """A span of a PageCache. It takes a number or None, and raises TypeError or ValueError for what is neither: later,
    nobody could tell which view it was."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._slot = f"_{name}"

    def __get__(self, notes: PageCache, owner: type) -> float | None:
        seconds: float | None = getattr(notes, self._slot)
        return seconds

    def __set__(self, notes: PageCache, seconds: float | None) -> None:
        setattr(notes, self._slot, check_seconds(self._name, seconds))


class PageCache:
    """Of one request. Lifetimes are seconds; None leaves the choice to the response's headers."""

    __slots__ = ("_keep", "_never", "_sie", "_swr", "_tags", "_ttl", "_vary_cookies", "raw_language")

    def __init__(self, state: object = None) -> None:
        self._ttl: float | None = None
        self._swr: float | None = None
        self._sie: float | None = None
        self._keep: float | None = None
        self.raw_language = False
        """Whether the page depends on Accept-Language beyond the language that LocaleMiddleware chooses by it."""
        self._never = False
        self._tags: dict[str, None] = {}
        self._vary_cookies: tuple[str, ...] | None = None

    ttl = _Seconds()
    """How long the page is used without asking."""
    swr = _Seconds()
    """How long after that it is used while a new one is made in the background."""
    sie = _Seconds()
    """How long after that it is used when the application fails."""
    keep = _Seconds()
    """How long after that it is kept, to ask the application whether it still holds."""

    def never(self) -> None:
        """Do not keep this page, whatever its headers say."""
        self._never = True

    def tag(self, *tags: str) -> None:
        """The page goes when one of these tags is purged. Raises TypeError or ValueError for what is no tag."""
        self._tags.update(dict.fromkeys(map(check_tag, tags)))

    def vary_on_cookies(self, names: Iterable[str]) -> None:
        """The page depends on these cookies only, and not on any other that a request may have."""
        if isinstance(names, str):
            raise TypeError(f"vary_cookies takes a list of names, not the text {names!r}: write [{names!r}]")
        self._vary_cookies = tuple(dict.fromkeys((*(self._vary_cookies or ()), *names)))

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self._tags)

    @property
    def vary_cookies(self) -> tuple[str, ...] | None:
        return self._vary_cookies

    def annotation(self) -> Annotation:
        """As the policy reads it."""
        return Annotation(
            self._never,
            self._ttl,
            self._swr,
            self._sie,
            self._keep,
            tuple(self._tags),
            self._vary_cookies,
            self.raw_language,
        )


def register() -> None:
    """Give every `request.wsgiperf` its `cache`. Called when the app is ready."""
    request_state.lazily("cache", PageCache)


def check_seconds(name: str, seconds: float | None) -> float | None:
    """The span; less than 0 is none. Raises TypeError or ValueError, and says what to write instead."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}: write for example 60")
    if not -inf < seconds < inf:
        raise ValueError(f"{name} is a number of seconds, not {seconds!r}: MAX_LIFETIME_S bounds what is too long")
    return seconds


def check_tag(tag: object) -> str:
    """The tag. Raises TypeError or ValueError, and says what to write instead."""
    if not isinstance(tag, str):
        raise TypeError(f"a tag is a text, not {tag!r}: write for example f'book:{{pk}}'")
    if not tag or len(tag) > MAX_TAG_CHARS:
        raise ValueError(f"a tag has 1 to {MAX_TAG_CHARS} characters, not {len(tag)}: {tag[:40]!r}")
    if tag[0] == ADDRESS_MARK:
        raise ValueError(f"tags that begin with {ADDRESS_MARK!r} are the cache's own: {tag[:40]!r}. Leave it out")
    return tag


def page_cache_of(request: HttpRequest) -> PageCache:
    """The notes for this request, made if need be. Takes the request of Django REST framework as well.

    Raises TypeError for what is no request, such as the `self` of a method that is decorated like a function."""
    inner = getattr(request, "_request", request)
    if not isinstance(inner, HttpRequest):
        raise TypeError(
            f"the page cache's decorators take views, whose first argument is a request, not {inner!r}: "
            "for a method write @method_decorator(cache_response(ttl=60)), as with Django's"
        )
    attributes = request_state.state_of(inner).__dict__
    notes: PageCache | None = attributes.get("cache")
    if notes is None:
        notes = attributes["cache"] = PageCache()
    return notes


def annotation_of(request: HttpRequest | None) -> Annotation:
    """What was noted for this request."""
    if request is None:
        return NO_ANNOTATION
    state = request.__dict__.get(request_state.NAME)
    notes = None if state is None else state.__dict__.get("cache")
    if notes is None:
        return NO_ANNOTATION
    found: Annotation = notes.annotation()
    if found.vary_cookies is not None and getattr(request.__dict__.get("session"), "accessed", False):
        # It depends on the session after all.
        return replace(found, vary_cookies=None)
    return found
