"""Requests and responses for the tests of the cache's rules, made of what each test cares about."""

from __future__ import annotations

from typing import Any

from django_wsgiperf.cache.entry import Entry
from django_wsgiperf.cache.headers import format_date
from django_wsgiperf.cache.messages import Request, Response
from django_wsgiperf.cache.policy import Decision, Rules, may_store

NOW = 1795435200.0
"""Mon, 23 Nov 2026 12:00:00 GMT."""
RULES = Rules()


def date(offset_s: float = 0.0) -> str:
    return format_date(NOW + offset_s)


def request(method: str = "GET", path: str = "/books/", query: str = "", **fields: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(method, "https", "shop.example", path, query, named)


def response(
    *headers: str, status: int = 200, body_bytes: int | None = 10, cache_control: str | None = "max-age=60"
) -> Response:
    """Each header as `Name: value`."""
    lines = [] if cache_control is None else [f"Cache-Control: {cache_control}"]
    split = (line.partition(": ") for line in [*lines, *headers])
    return Response(status, "Whatever", tuple((name, value) for name, _, value in split), body_bytes)


def decide(*headers: str, to: Request | None = None, rules: Rules = RULES, **options: Any) -> Decision:
    """What is decided of a response to a plain request that arrives NOW."""
    of_response = {name: options.pop(name) for name in ("status", "body_bytes", "cache_control") if name in options}
    return may_store(to or request(), response(*headers, **of_response), NOW, rules=rules, **options)


def stored(*headers: str, body: bytes = b"0123456789", rules: Rules = RULES, **options: Any) -> Entry:
    """The entry that is made of a response to a plain request that arrives NOW."""
    answer = response(*headers, body_bytes=len(body), **options)
    decision = may_store(request(), answer, NOW, rules=rules)
    assert decision.store, decision.reason
    return decision.entry(answer, body, NOW, nominated=tuple((name, None) for name in decision.vary))
