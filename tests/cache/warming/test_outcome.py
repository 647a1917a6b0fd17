"""What an answer says about the cache (RFC 9211)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.headers import cache_status
from django_wsgiperf.cache.policy import Reason
from django_wsgiperf.cache.warming.client import Answer
from django_wsgiperf.cache.warming.outcome import CACHE, Outcome, Told, read


def answer(cache_status: str | None, status: int = 200, reason: str = "OK") -> Answer:
    return Answer(status, reason, {} if cache_status is None else {"cache-status": cache_status}, b"", 0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("wsgiperf; hit; ttl=12", Told(Outcome.ALREADY)),
        ("wsgiperf; hit; ttl=-3; detail=refreshing", Told(Outcome.ALREADY)),
        ("wsgiperf; fwd=uri-miss; stored", Told(Outcome.WARMED)),
        ("wsgiperf; fwd=stale; fwd-status=304; stored", Told(Outcome.WARMED)),
        ("wsgiperf; fwd=uri-miss; collapsed", Told(Outcome.WARMED)),
        ("wsgiperf; fwd=uri-miss; detail=set-cookie", Told(Outcome.REFUSED, "set-cookie")),
        ('wsgiperf; fwd=bypass; detail="some words"', Told(Outcome.REFUSED, "some words")),
        ("wsgiperf; fwd=bypass", Told(Outcome.REFUSED, "bypass")),
        ("wsgiperf", Told(Outcome.REFUSED, "no reason given")),
        ("cdn; hit", Told(Outcome.UNTOLD)),
        ("wsgiperf; fwd=uri-miss; stored, cdn; fwd=uri-miss", Told(Outcome.WARMED)),
        ('"wsgiperf"; hit', Told(Outcome.ALREADY)),
        ("wsgiperf; hit=?0; fwd=miss", Told(Outcome.REFUSED, "miss")),
        ("", Told(Outcome.UNTOLD)),
        ("not, a ; (list", Told(Outcome.UNTOLD)),
        (None, Told(Outcome.UNTOLD)),
    ],
)
def test_what_is_told(said: str | None, told: Told) -> None:
    assert read(answer(said)) == told


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_ours_is_read_back(reason: Reason) -> None:
    said = cache_status(CACHE, fwd="uri-miss", detail=reason)
    assert read(answer(said)) == Told(Outcome.REFUSED, reason)


def test_errors_are_failures_even_when_they_are_stored() -> None:
    assert read(answer("wsgiperf; fwd=uri-miss; stored", 404, "Not Found")) == Told(Outcome.FAILED, "404 Not Found")
    assert read(answer(None, 503, "")) == Told(Outcome.FAILED, "503")


def test_a_stored_redirect_is_warmed() -> None:
    assert read(answer("wsgiperf; fwd=uri-miss; stored", 301, "Moved")) == Told(Outcome.WARMED)


@given(st.text(max_size=40))
def test_any_text_tells_something(text: str) -> None:
    assert read(answer(text)).outcome in Outcome
