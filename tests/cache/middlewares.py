"""Middleware as projects have it, for the tests of the whole cache."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject


def everything_for_a_minute(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Says of every response that it may be kept."""

    def middleware(request: HttpRequest) -> Any:
        response = get_response(request)
        response["Cache-Control"] = "max-age=60"
        return response

    return middleware


class LanguageOfAHeader(LocaleMiddleware):
    """Chooses the language by a field that no Vary names."""

    def process_request(self, request: HttpRequest) -> None:
        translation.activate(request.headers.get("X-Language", "en"))
        request.LANGUAGE_CODE = translation.get_language()


def zone_of_the_visitor(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Activates the time zone that a cookie names, and says so to nobody."""

    def middleware(request: HttpRequest) -> Any:
        zone = request.COOKIES.get("zone")
        if zone:
            timezone.activate(zone)
        else:
            timezone.deactivate()
        return get_response(request)

    return middleware


class SessionOfAHeader(SessionMiddleware):
    """Takes the session's key from a field, as interfaces for apps do."""

    def process_request(self, request: HttpRequest) -> None:
        request.session = self.SessionStore(request.headers.get("X-Session"))  # type: ignore[attr-defined]


def user_of_a_header(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Logs in whom a field names, at once or when the view asks."""

    def middleware(request: HttpRequest) -> Any:
        name = request.headers.get("X-User", "")
        user = SimpleNamespace(name=name, is_authenticated=bool(name))
        request.user = SimpleLazyObject(lambda: user) if "X-Lazy" in request.headers else user  # type: ignore[assignment]
        return get_response(request)

    return middleware


class LazyNonce:
    """As Django 6 has it: made when it is first asked for, and false until then."""

    def __init__(self) -> None:
        self.made = ""

    def __str__(self) -> str:
        self.made = "abc"
        return self.made

    def __bool__(self) -> bool:
        return bool(self.made)


def csp_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Offers a nonce, and lets the view put it into the page."""

    def middleware(request: HttpRequest) -> Any:
        request._csp_nonce = LazyNonce()  # type: ignore[attr-defined]
        return get_response(request)

    return middleware
