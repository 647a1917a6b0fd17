"""What hits and misses cost without a server: `python -m tests.benchmarks.cache.inprocess ROUNDS SECONDS [REDIS]`.

All ways through the code are in this one process, so that batches of all of them alternate within fractions of a
second. The quickest batch of a round counts, as in timeit: what makes one slower, such as another tenant of the
processor, is not the code, and does not last equally long for all. Prints one JSON line a round: way -> us. Nothing
else runs meanwhile.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.cache.setups import DJANGO_AFTER, DJANGO_BEFORE, OURS, PAGE, PRIVATE
from tests.benchmarks.serving.environ import ready_made

#: A round has so many batches of each way, in turn.
BATCHES = 15
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]

DOOR, MIDDLEWARE, DJANGO_LOCMEM, DJANGO_REDIS = "our WSGI door", "our middleware", "Django, LocMem", "Django, Redis"
MISS, MISS_PLAIN = "miss that is kept", "the same without a cache"
PASS, PASS_PLAIN = "page that is not kept", "the same page without a cache"


class WrongAnswer(RuntimeError):
    """A way did not give the page, or not as it should."""


class Way:
    """A WSGI application and the requests it is called with, one after the other."""

    def __init__(self, application: Application, environs: Iterator[dict[str, Any]]) -> None:
        self.application = application
        self.environs = environs
        self.fields: dict[str, str] = {}

    def call(self) -> int:
        """Call it once, as PEP 3333 says; the ns it took, without making the environ."""
        environ = next(self.environs)
        said: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            said.extend((status, headers))

        began_ns = time.perf_counter_ns()
        result = self.application(environ, start_response)
        body = b"".join(result)
        close = getattr(result, "close", None)
        if close is not None:
            close()
        took_ns = time.perf_counter_ns() - began_ns
        if said[0] != "200 OK" or len(body) < 10_000:
            raise WrongAnswer(f"{said[0]}, {len(body)} bytes")
        self.fields = {name.lower(): value for name, value in said[1]}
        return took_ns

    def batch(self, seconds: float) -> float:
        """Call it for so long; the median in us."""
        samples = [self.call()]
        until_ns = time.perf_counter_ns() + int(seconds * 1e9)
        while time.perf_counter_ns() < until_ns:
            samples.append(self.call())
        return statistics.median(samples) / 1000


def always(path: str) -> Iterator[dict[str, Any]]:
    """Requests for one page."""
    environ = ready_made(path)
    while True:
        yield environ.copy()


def never_again(path: str) -> Iterator[dict[str, Any]]:
    """Requests for a page under another address each time."""
    environ = ready_made(path)
    for number in itertools.count():
        yield {**environ, "QUERY_STRING": f"number={number}"}


def ways(redis: str) -> dict[str, Way]:
    """All of them, with the settings of their own each was made under."""
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler

    from django_wsgiperf.wsgi import wrap

    common = list(settings.MIDDLEWARE)

    def handler(before: list[str], after: list[str], alias: str = "default") -> WSGIHandler:
        settings.MIDDLEWARE = [*before, *common, *after]
        settings.CACHE_MIDDLEWARE_ALIAS = alias
        return WSGIHandler()

    plain, door = handler([], []), wrap(handler([], []))
    found = {
        DOOR: Way(door, always(PAGE)),
        MIDDLEWARE: Way(handler([OURS], []), always(PAGE)),
        DJANGO_LOCMEM: Way(handler([DJANGO_BEFORE], [DJANGO_AFTER]), always(PAGE)),
    }
    if redis:
        found[DJANGO_REDIS] = Way(handler([DJANGO_BEFORE], [DJANGO_AFTER], "pages"), always(PAGE))
    return found | {
        MISS: Way(door, never_again(PAGE)),
        MISS_PLAIN: Way(plain, never_again(PAGE)),
        PASS: Way(door, always(PRIVATE)),
        PASS_PLAIN: Way(plain, always(PRIVATE)),
    }


def verify(found: dict[str, Way]) -> None:
    """See that each way is what it is called. Raises WrongAnswer."""
    wanted = {
        DOOR: ("cache-status", "wsgiperf; hit"),
        MIDDLEWARE: ("cache-status", "wsgiperf; hit"),
        DJANGO_LOCMEM: ("age", ""),
        DJANGO_REDIS: ("age", ""),
        MISS: ("cache-status", "stored"),
        PASS: ("cache-status", "private"),
    }
    for name, way in found.items():
        way.call()
        way.call()
        field, text = wanted.get(name, ("content-length", ""))
        if text not in way.fields.get(field, "-" if text else ""):
            raise WrongAnswer(f"{name}: {field} is {way.fields.get(field)!r}")
        if field not in way.fields:
            raise WrongAnswer(f"{name}: there is no {field}")


def main() -> None:
    rounds, seconds, redis = int(sys.argv[1]), float(sys.argv[2]), "".join(sys.argv[3:4])
    caches = {"pages": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}} if redis else {}
    os.environ["BENCHMARK_CACHE"] = json.dumps(
        {"caches": caches, "before": [], "after": [], "wsgiperf": {"ENABLED": True}}
    )
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchsite.cache_settings"
    import django

    django.setup()
    found = ways(redis)
    verify(found)
    for _ in range(rounds):
        batches: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(BATCHES):
            for name, way in found.items():
                batches[name].append(way.batch(seconds / BATCHES))
        print(json.dumps({name: min(values) for name, values in batches.items()}), flush=True)


if __name__ == "__main__":
    main()
