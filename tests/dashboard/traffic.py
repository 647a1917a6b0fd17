"""Made-up traffic of a bookshop through the real pipeline: `python -m tests.dashboard.traffic --hours 3` fills a store.

Records are made minute by minute, in several processes at once, from a seed, and are summed, written and rolled up by
the code that does it in production. Nothing is asserted here.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics import rollup
from django_wsgiperf.metrics.minute import Hit
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.stores import open_store
from django_wsgiperf.metrics.stores.base import Store
from django_wsgiperf.metrics.worker import Worker

MS = 1_000_000
THREADS = 12
STOCK = "SELECT stock.quantity FROM shop_stock WHERE stock.book_id = %s"
COLUMNS = ("title", "price", "rating", "published", "pages", "isbn", *(f"column_{number}" for number in range(40)))


@dataclass(frozen=True, slots=True)
class Kind:
    """A route and how its requests behave. Times in milliseconds; `repeats` is an N+1 with so many queries."""

    route: str
    weight: float
    python: float
    queries: int = 0
    query: float = 0.6
    template: float = 0.0
    cache: int = 0
    method: str = "GET"
    failing: float = 0.0
    missing: float = 0.0
    repeats: int = 0
    page_cache: str = ""
    sql: str = "SELECT shop_book.id, shop_book.title FROM shop_book WHERE shop_book.slug = %s"


KINDS = (
    Kind("/", 20, 4, 3, 0.7, 6, 2, page_cache="hit"),
    Kind("/books/", 18, 6, 5, 1.4, 9, 1, page_cache="hit"),
    Kind("/books/<slug:slug>/", 30, 5, 4, 0.9, 7, 2, page_cache="hit"),
    Kind("/search/", 9, 14, 6, 14, 8, 1),
    Kind("/categories/<slug:slug>/", 8, 5, 4, 1.2, 8, 1, page_cache="hit"),
    Kind("/api/books/", 7, 22, 4, 1.5, 0, 0, repeats=24, sql="SELECT shop_book.id FROM shop_book WHERE price < %s"),
    Kind("/basket/", 5, 5, 5, 0.8, 5),
    Kind("/basket/add/<int:pk>/", 3, 4, 6, 1.0, method="POST"),
    Kind("/checkout/", 1.4, 12, 14, 1.8, 6, method="POST", failing=0.02),
    Kind("/supplier/<int:pk>/", 1.2, 640, 1, 0.8),
    Kind("/account/login/", 1, 95, 3, 0.9, 4, method="POST", missing=0.1),
    Kind("/stock/export/", 1, 60, 40, 2),
    Kind("(not found)", 3, 1.5, 0, missing=1.0),
    Kind("(redirect)", 2, 0.6),
)


@dataclass(slots=True)
class Traffic:
    """`per_minute` requests of each of `processes`, over `minutes` up to `until_s`; alike for a seed."""

    until_s: float
    minutes: int = 120
    processes: int = 4
    per_minute: int = 40
    seed: int = 7
    kinds: tuple[Kind, ...] = KINDS
    releases: tuple[str, ...] = ("2026.11.2", "2026.11.3")
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def fill(self, store: Store, settings: MetricsSettings) -> None:
        """Write it all."""
        now = [0.0]
        deploy = self.until_s - min(self.minutes * 0.4, 33) * 60
        workers: list[Worker] = []
        begin = int(self.until_s) // 60 * 60 - (self.minutes - 1) * 60
        for minute in range(begin, int(self.until_s) + 1, 60):
            now[0] = min(minute + 59.0, self.until_s)
            release = self.releases[now[0] >= deploy] if len(self.releases) > 1 else self.releases[0]
            if not workers or workers[0].settings.release != release:
                for worker in workers:
                    worker.shutdown(1.0)
                workers = [self._worker(at, store, settings, release, lambda: now[0]) for at in range(self.processes)]
            for worker in workers:
                self._minute(worker, minute, now[0])
                worker.flush()
        rollup.run(store, settings, owner="traffic", now_s=int(self.until_s))

    def _worker(
        self, at: int, store: Store, settings: MetricsSettings, release: str, clock: Callable[[], float]
    ) -> Worker:
        host = f"web-{at % 2 + 1}"
        instance = f"{host}:{4100 + at}:{self.chance.getrandbits(32):08x}"
        return Worker(
            replace(settings, release=release),
            lambda _: store,
            instance=instance,
            host=host,
            mode="tests",
            clock=clock,
        )

    def _minute(self, worker: Worker, minute: int, now_s: float) -> None:
        seconds = max(1.0, now_s - minute)
        wave = 1 + 0.35 * math.sin(minute / 1700) + 0.12 * math.sin(minute / 300)
        slow = 2.2 if 0.62 < ((minute - self.until_s) / 60 / self.minutes + 1) < 0.68 else 1.0
        count = max(1, int(self.per_minute * wave * seconds / 60))
        busy = 0
        for kind in self.chance.choices(self.kinds, [kind.weight for kind in self.kinds], k=count):
            at = minute + self.chance.uniform(0, seconds - 0.5)
            if kind.page_cache == "hit" and self.chance.random() < 0.7:
                took = int(self.chance.lognormvariate(-1.5, 0.4) * MS)
                worker.put_hit(Hit(at, kind.route, kind.method, 200, 18_000, took, "hit", int(took / 9)))
                continue
            record = self.record(kind, at, slow)
            busy += record.total_ns
            worker.put(record)
        tally = worker._aggregator.minute(now_s).tally
        tally.thread_ns += max(int(THREADS * seconds * 1e9 / 40), 2 * busy)
        tally.queue_peak = max(tally.queue_peak, self.chance.randrange(3))

    def _spread(self, milliseconds: float) -> int:
        return int(milliseconds * self.chance.lognormvariate(0, 0.45) * MS)

    def record(self, kind: Kind, at_s: float, slow: float = 1.0) -> Record:
        """One finished request."""
        chance = self.chance
        record = Record(kind.method)
        record.began_s = at_s
        record.route = kind.route
        record.queue_ns = self._spread(0.15 * slow**4)
        record.request_id = f"{chance.getrandbits(64):016x}"
        record.trace_id = f"{chance.getrandbits(128):032x}" if chance.random() < 0.5 else ""
        middleware, view = self._spread(0.4), self._spread(kind.python * slow)
        at = middleware + view // 4
        for text, duration, kind_of in self._work(kind, slow, record):
            record.add_span(kind_of, record.began_ns + at, duration, text)
            at += duration
        record.view_began_ns = record.began_ns + middleware
        record.view_ended_ns = record.began_ns + at + view * 3 // 4
        record.ttfb_ns = record.view_ended_ns + middleware - record.began_ns
        record.write_ns = self._spread(0.2)
        record.cpu_ns = int((view * (0.1 if view > 300 * MS else 0.8)) + record.template_ns)
        record.accounted_ns = sum(record.accounts())
        record.end(record.began_ns + record.ttfb_ns + record.write_ns)
        record.body_bytes = int(chance.lognormvariate(9.5, 0.7))
        record.status = self._status(kind, record)
        if kind.page_cache:
            record.page_cache = "miss" if chance.random() < 0.8 else "stale"
        elif kind.route.startswith("/"):
            record.page_cache = "bypass"
        if record.total_ns > 700 * MS:
            record.stacks = [STACK.format(line=line) for line in (88, 91)]
        return record

    def _work(self, kind: Kind, slow: float, record: Record) -> Iterator[tuple[str, int, str]]:
        """What the view has done for it: text, time and kind of each."""
        chance = self.chance
        if kind.queries:
            use = record.database("default")
            use.wait_ns = self._spread(0.05 * slow**3)
            yield "default", use.wait_ns, "pool"
            several = [f"{kind.sql} ORDER BY {column}" for column in COLUMNS[: kind.queries]]
            for sql in several + [STOCK] * kind.repeats:
                took = self._spread(kind.query * slow)
                use.execute_ns += took
                use.queries += 1
                use.rows += chance.randrange(1, 30)
                if sql in record.queries:
                    record.queries[sql][0] += 1
                    record.queries[sql][1] += took
                else:
                    record.add_statement(sql, took)
                record.queries[sql][2] = "shop/api.py:57 in books" if sql == STOCK else "shop/browse.py:31 in shelf"
                yield sql, took, "db"
        if kind.cache:
            cached = record.cached("default")
            for _ in range(kind.cache):
                took = self._spread(0.12)
                cached.call_ns += took
                cached.calls += 1
                hit = chance.random() < 0.86
                cached.hits += hit
                cached.misses += not hit
                yield "get", took, "cache"
        if kind.template:
            record.template_ns = self._spread(kind.template)
            record.templates = 1
            yield "shop/page.html", record.template_ns, "template"
        if chance.random() < 0.04:
            record.gc_ns = self._spread(3.0)
            record.gc_runs = 1
            yield "generation 2", record.gc_ns, "gc"

    def _status(self, kind: Kind, record: Record) -> int:
        if self.chance.random() < kind.failing:
            record.exception = "shop.payments.PaymentRefused"
            return 500
        if self.chance.random() < kind.missing:
            return 404 if kind.route == "(not found)" else 400
        return 301 if kind.route == "(redirect)" else 302 if kind.method == "POST" else 200


STACK = """\
django/core/handlers/base.py:198 in _get_response
shop/views/pages.py:{line} in supplier
shop/suppliers.py:40 in ask
urllib/request.py:1392 in http_open
http/client.py:1395 in getresponse
socket.py:718 in readinto"""


def main() -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--per-minute", type=int, default=40, help="requests of each process")
    options = parser.parse_args()
    django.setup()
    from django_wsgiperf import conf

    settings = conf.current("METRICS").values
    traffic = Traffic(
        time.time(), minutes=int(options.hours * 60), processes=options.processes, per_minute=options.per_minute
    )
    traffic.fill(open_store(settings), settings)


if __name__ == "__main__":
    main()
