"""How long it takes to purge a tag of many entries: `python -m tests.benchmarks.cache.purging ROUNDS ENTRIES [REDIS]`.

Each round purges one tag that all entries in the memory carry, and sees that none of a sample can be used after it.
Prints one JSON line a round: where purges are kept -> ms. What it takes to fill the memory is not counted.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.benchmarks.serving.environ import ready_made

SAMPLE = 1_000
BYTES_EACH = 20_000
MEMORY, SHARED = "memory", "memory, with Redis for other processes"


class WrongAnswer(RuntimeError):
    """An entry can be used that must not be, or cannot that may be."""


def environs(entries: int) -> Iterator[dict[str, Any]]:
    """A request for each entry's address."""
    environ = ready_made("/page")
    for number in range(entries):
        yield {**environ, "QUERY_STRING": f"number={number}"}


class Filled:
    """An engine whose memory holds so many entries under addresses of their own."""

    def __init__(self, entries: int, store: str) -> None:
        from django.conf import settings

        from django_wsgiperf import conf
        from django_wsgiperf.cache import runtime
        from django_wsgiperf.cache.held import Held
        from django_wsgiperf.cache.purging import purge
        from django_wsgiperf.wsgi import get_wsgi_application

        settings.WSGIPERF = {
            **settings.WSGIPERF,
            "CACHE": {"MEMORY_ENTRIES": entries * 2, "MEMORY_BYTES": entries * 2 * BYTES_EACH, "STORE": store},
        }
        conf.forget()
        runtime.reset()
        application = get_wsgi_application()
        engine = runtime.engine()
        assert engine is not None
        self.engine = engine
        self.entries = entries
        # One goes the whole way; the others are kept as it was.
        first = next(environs(1))
        b"".join(application(first.copy(), lambda *_: None))
        kept = engine.recall(first)
        if kept is None:
            raise WrongAnswer("the page is not kept")
        self.entry = kept.entry
        self.all: list[Held] = []
        size = kept.size
        for key in self.keys(entries):
            held = Held(self.entry, key, key, engine.sending)
            engine.memory.put(key, held, size)
            self.all.append(held)
        # The first purge of a process also imports what it needs.
        purge(tags=["nothing"])
        if len(engine.memory) != entries:
            raise WrongAnswer(f"{len(engine.memory)} entries are kept, not {entries}")

    def keys(self, entries: int) -> Iterator[bytes]:
        """A key for each entry. Only those of the sample are ever asked for, and are keys of addresses."""
        for environ in environs(min(SAMPLE, entries)):
            key = self.engine.primary(environ)
            assert key is not None
            yield key
        for number in range(SAMPLE, entries):
            yield number.to_bytes(20)

    def purge(self, tag: str) -> float:
        """Give all entries the tag, purge it, and verify; the ms of the purge. Raises WrongAnswer."""
        from django_wsgiperf.cache.purging import purge

        entry = replace(self.entry, tags=(*self.entry.tags, tag), sequence=self.engine.tags.sequence)
        for held in self.all:
            held.entry = entry
        if usable := SAMPLE - self.usable():
            raise WrongAnswer(f"{usable} of {SAMPLE} entries cannot be used before the purge")
        began_s = time.perf_counter()
        purge(tags=[tag])
        ms = (time.perf_counter() - began_s) * 1000
        if usable := self.usable():
            raise WrongAnswer(f"{usable} of {SAMPLE} entries can be used after the purge")
        return ms

    def usable(self) -> int:
        """How many of the first SAMPLE entries answer a request."""
        return sum(self.engine.recall(environ) is not None for environ in environs(SAMPLE))


def main() -> None:
    rounds, entries, redis = int(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:4])
    caches = {"pages": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}} if redis else {}
    os.environ["BENCHMARK_CACHE"] = json.dumps({"caches": caches, "before": [], "after": [], "wsgiperf": {}})
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchsite.cache_settings"
    import django

    django.setup()
    lines: list[dict[str, float]] = [{} for _ in range(rounds)]
    for where, store in ((MEMORY, ""), *(((SHARED, "pages"),) if redis else ())):
        # A million objects that live on are nothing for the collector to look through again and again.
        gc.disable()
        filled = Filled(entries, store)
        gc.enable()
        for round_, line in enumerate(lines):
            line[where] = filled.purge(f"round-{round_}")
        del filled
    for line in lines:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
