"""Makes a page in this process, behind a cache of its own that shares nothing, to see what would become of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django_wsgiperf.cache.policy import Target
from django_wsgiperf.cache.warming.client import Answer
from django_wsgiperf.cache.warming.outcome import read


@dataclass(frozen=True, slots=True)
class Made:
    """What the application answered, and what the cache said to it."""

    status: int
    body_bytes: int
    took_s: float
    kept: bool
    reason: str
    """Why it would not be kept."""
    said: Mapping[str, str]
    """The fields that have to do with caching, without the values of cookies."""
    lifetime_s: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "body_bytes": self.body_bytes,
            "took_ms": round(self.took_s * 1000, 3),
            "kept": self.kept,
            "reason": self.reason,
            "lifetime_s": self.lifetime_s,
            "headers": dict(self.said),
        }


_SHOWN = ("cache-control", "expires", "vary", "age", "etag", "last-modified", "content-type", "cache-groups")


def make(target: Target, headers: Mapping[str, str]) -> Made:
    """Call the project's application for a GET of the address, which has a host."""
    from django.core.wsgi import get_wsgi_application
    from django.db import connections
    from django.test.client import RequestFactory

    from django_wsgiperf import conf
    from django_wsgiperf.cache.engine import Engine
    from django_wsgiperf.cache.held import Held
    from django_wsgiperf.cache.site import Site
    from django_wsgiperf.cache.wsgi import CachedApplication

    values = replace(conf.current("CACHE").values, store="", cache_status="brief", compress=(), jitter=0.0)
    engine = Engine(values, Site(values))
    is_secure = target.scheme == "https"
    environ = RequestFactory(headers=dict(headers)).get("/", secure=is_secure).environ
    environ |= {"HTTP_HOST": target.host, "PATH_INFO": target.path, "QUERY_STRING": target.query}
    said: list[tuple[str, str]] = []
    lines: list[str] = []

    def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
        lines[:] = [status]
        said[:] = fields
        return lambda data: None

    # A request that no client made is none to be measured.
    metrics = conf.current("METRICS")
    conf.adopt(replace(metrics, values=replace(metrics.values, enabled=False)))
    began_s = time.perf_counter()
    try:
        result = CachedApplication(get_wsgi_application(), engine)(environ, start_response)
        try:
            size = sum(map(len, result))
        finally:
            getattr(result, "close", lambda: None)()
    finally:
        conf.adopt(metrics)
        engine.stop()
        connections.close_all()
    took_s = time.perf_counter() - began_s
    fields: dict[str, str] = {}
    for name, value in said:
        name = name.lower()
        if name == "set-cookie":
            value = value.partition("=")[0].strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    code, _, reason = lines[0].partition(" ")
    # An error page may be kept too, where it says so.
    told = read(Answer(min(int(code), 399), reason, fields, b"", size))
    held = next((held for _, held, _ in engine.memory if isinstance(held, Held)), None)
    shown = {name: fields[name] for name in (*_SHOWN, "set-cookie") if name in fields}
    lifetime_s = None if held is None else held.entry.lifetime_s
    return Made(int(code), size, took_s, held is not None, told.why, shown, lifetime_s)
