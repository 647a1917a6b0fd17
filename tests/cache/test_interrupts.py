"""A page whose making is interrupted anywhere in the cache's code is made anew at once by the next who wants it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse

import django_wsgiperf.cache
from tests.db.interrupts import everywhere

from . import doors
from .doors import Site, environ, page

CODE = (str(Path(django_wsgiperf.cache.__file__).parent),)


def kept(number: int) -> HttpResponse:
    return page("text")


def private(number: int) -> HttpResponse:
    return page("text", "private")


def unlike_others(number: int) -> HttpResponse:
    return page("text", X_Number=str(number))


def varying(number: int) -> HttpResponse:
    return page("text", Vary="Accept-Language")


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
@pytest.mark.parametrize("view", [kept, private, unlike_others, varying])
@pytest.mark.parametrize("fields", [{}, {"Cookie": "sessionid=1"}, {"Cache-Control": "max-age=5"}])
def test_nobody_waits_for_who_was_interrupted(door: str, view: Any, fields: dict[str, str]) -> None:
    with doors.site(door, {"REQUEST_DIRECTIVES": True}) as site:
        numbers = itertools.count()
        for _ in range(3):
            ask(site, view, next(numbers), fields)()
        places = 0
        for where in everywhere(lambda: ask(site, view, next(numbers), fields), CODE, exact=True):
            assert not len(site.engine.flights.firsts), where
            assert not site.engine.making, where
            places += 1
        assert places > 50


def ask(site: Site, view: Any, number: int, fields: dict[str, str]) -> Any:
    """What asks for a page that nobody has asked for."""
    target = f"/{number}"
    site.view(target, lambda request: view(number))
    asked = environ(target, fields=fields)

    def run() -> None:
        result = site.application(asked, lambda status, headers, exc_info=None: None)
        try:
            b"".join(result)
        finally:
            getattr(result, "close", lambda: None)()

    return run
