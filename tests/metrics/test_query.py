"""What is asked of a period is what was counted in it, whatever level it has been rolled up to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.conf import MetricsSettings
from django_wsgiperf.metrics import payload, pipeline, query, reading, rollup
from django_wsgiperf.metrics.reading import Window, cover
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.results import BREAKDOWN, PERIODS
from django_wsgiperf.metrics.stores.base import LEVELS, Extent
from django_wsgiperf.metrics.stores.memory import MemoryStore
from django_wsgiperf.metrics.worker import Worker

from .making import MS, NOON, Clock, record, worker

SETTINGS = MetricsSettings()
NOW = NOON + 30


class Site:
    """Processes that share a store, and the time that they have."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = Clock(NOW)
        self.workers: list[Worker] = []

    def process(self, name: str = "one:1:0000aaaa", host: str = "one", **options: object) -> Worker:
        self.workers.append(worker(self.store, name=name, host=host, clock=self.clock, **options))
        return self.workers[-1]

    def serve(self, made: Worker, *records: Record) -> None:
        """Requests that end at the present moment."""
        for each in records:
            each.began_s = self.clock.now_s - each.total_ns / 1e9
            made.put(each)
        assert made.flush()

    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds
        for made in self.workers:
            made.flush()
        rollup._RollUp(self.store, SETTINGS, int(self.clock.now_s)).roll_up()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    monkeypatch.setattr(pipeline, "_worker", worker(made.store, name="asks:9:0000ffff", clock=made.clock))
    return made


def test_overview_has_sums_parts_and_quantiles(site: Site) -> None:
    one = site.process(release="v1")
    site.serve(
        one,
        record(ttfb_ns=100 * MS, queue_ns=20 * MS, db_ns=40 * MS, queries=4, cache_ns=10 * MS, page_cache="miss"),
        record(ttfb_ns=300 * MS, status=404, method="POST"),
        record("/api/", ttfb_ns=900 * MS, status=500, exception="builtins.ValueError", cpu_ns=50 * MS),
    )
    found = query.overview("15m", now=NOW)
    totals = found.totals
    assert (totals.requests, totals.errors_4xx, totals.errors_5xx, totals.exceptions) == (3, 1, 1, 1)
    assert totals.statuses == {200: 1, 404: 1, 500: 1}
    assert totals.methods == {"GET": 2, "POST": 1}
    assert (totals.queries, totals.rows, totals.cache_calls, totals.cache_hits, totals.cache_misses) == (4, 8, 3, 2, 1)
    assert totals.page_cache == {"miss": 1}
    assert totals.bytes == 300
    assert totals.cpu_s == pytest.approx(0.05)
    assert list(totals.parts_s) == list(BREAKDOWN)
    assert sum(totals.parts_s.values()) == pytest.approx(totals.wall_s) == pytest.approx(1.32)
    assert totals.parts_s["db"] == pytest.approx(0.04)
    assert totals.quantiles.p50 == pytest.approx(0.3, rel=0.05)
    assert totals.quantiles.max == pytest.approx(0.9)
    assert totals.quantiles.mean == pytest.approx(0.44)
    assert totals.queue_p95_s == pytest.approx(0.02, rel=0.05)
    assert totals.apdex == pytest.approx((2 + 1 / 2) / 3)
    assert [row.route for row in found.top] == ["/api/", "/books/"]
    assert sum(row.share for row in found.top) == pytest.approx(1.0)
    assert found.hosts == ("one",)
    assert found.releases == ("v1",)
    assert (found.begin_s, found.end_s, found.step_s) == (NOON - 14 * 60, NOW + 1, 60)


def test_nothing_was_measured(site: Site) -> None:
    found = query.overview("1h", now=NOW)
    assert found.totals.requests == found.previous.requests == 0
    assert found.totals.quantiles.p95 is None
    assert found.totals.apdex is None
    assert len(found.series) == 60
    assert found.top == found.hosts == found.releases == ()
    assert query.routes("1h", now=NOW) == []
    assert query.route("/books/", "1h", now=NOW) is None
    assert query.samples("1h", now=NOW) == []


def test_series_has_every_step_and_each_request_in_its_own(site: Site) -> None:
    one = site.process()
    for minutes in (0, 1, 1, 5):
        site.serve(one, record())
        site.pass_time(60 * minutes)
    now = site.clock.now_s
    series = query.overview("15m", now=now).series
    assert [point.start_s for point in series] == list(range(NOON - 7 * 60, NOON + 8 * 60, 60))
    counts = {point.start_s: point.totals.requests for point in series if point.totals.requests}
    assert counts == {NOON: 2, NOON + 60: 1, NOON + 120: 1}


@pytest.mark.parametrize("period", PERIODS)
def test_every_period_has_all_of_it_and_the_one_before(site: Site, period: str) -> None:
    one = site.process()
    seconds = PERIODS[period]
    # In the period before, in the middle of this one, and now.
    for wait in (0, seconds * 3 // 4, seconds // 2):
        site.clock.now_s += wait
        for _ in range(4):
            site.pass_time(0)
        site.serve(one, record())
    found = query.overview(period, now=site.clock.now_s)
    assert found.totals.requests == 2
    assert found.previous.requests == 1
    assert sum(point.totals.requests for point in found.series) == 2
    assert [row.totals.requests for row in query.routes(period, now=site.clock.now_s)] == [2]
    detail = query.route("/books/", period, now=site.clock.now_s)
    assert detail is not None
    assert detail.row.totals.requests == 2
    assert sum(cell.count for cell in detail.heat) == 2
    assert len(query.samples(period, now=site.clock.now_s)) == 2


@given(st.sampled_from(list(PERIODS)), st.integers(1_700_000_000, 1_900_000_000), st.sampled_from([1, 2, 26, 100, 700]))
def test_extents_cover_a_window_without_gap_or_overlap(period: str, now: int, hours: int) -> None:
    settings = replace(SETTINGS, retention_1m_hours=hours)
    window = Window.of(period, float(now), settings)
    assert window.begin <= now < window.end
    assert PERIODS[period] - window.step < window.end - window.begin <= max(PERIODS[period], window.step)
    assert window.begin % window.step == 0
    assert window.before[1] == window.begin
    for begin, end, extents in (
        (window.begin, window.end, window.whole()),
        (*window.before, window.whole_before()),
    ):
        at = begin
        for extent in extents:
            assert extent.begin == at
            assert extent.level >= window.level or extent is extents[-1]
            assert extent.begin % extent.level == 0, "rows of that level begin there"
            at = extent.end
        assert at == end


def test_thirty_days_are_few_rows() -> None:
    window = Window.of("30d", NOON + 12_345.0, SETTINGS)
    rows = sum((extent.end - extent.begin) // extent.level for extent in window.whole())
    assert rows < 60


def test_levels_that_are_kept_too_shortly_are_not_read() -> None:
    assert Window.of("6h", NOON, SETTINGS).level == 60
    assert Window.of("6h", NOON, replace(SETTINGS, retention_1m_hours=2)).level == 600
    assert Window.of("24h", NOON, replace(SETTINGS, retention_10m_days=1)).level == 7200


def test_cover_of_nothing_is_nothing() -> None:
    assert cover(NOON, NOON, 60) == []


def test_unknown_period_is_refused(site: Site) -> None:
    with pytest.raises(ValueError, match="'2h' is no period; write one of 15m, 1h"):
        query.overview("2h")


def test_hosts_are_told_apart_and_added_up(site: Site) -> None:
    one, two = site.process("one:1:0000aaaa", "one"), site.process("two:1:0000bbbb", "two")
    site.serve(one, record("/a/", ttfb_ns=30 * MS))
    site.serve(two, record("/b/", ttfb_ns=20 * MS), record("/a/"))
    for _ in range(2):
        assert query.overview("1h", now=site.clock.now_s).totals.requests == 3
        found = query.overview("1h", host="two", now=site.clock.now_s)
        assert found.totals.requests == 2
        assert found.hosts == ("one", "two"), "all hosts can be chosen, whichever is"
        assert [row.route for row in query.routes("1h", host="one", now=site.clock.now_s)] == ["/a/"]
        assert {each.host for each in query.samples("1h", host="two", now=site.clock.now_s)} == {"two"}
        detail = query.route("/a/", "1h", host="two", now=site.clock.now_s)
        assert detail is not None
        assert detail.row.totals.requests == 1
        site.pass_time(400)


def test_routes_are_sorted_by_their_time_and_their_shares_add_up(site: Site) -> None:
    one = site.process()
    site.serve(one, *(record(f"/{n}/", ttfb_ns=(n + 1) * MS) for n in range(30)))
    rows = query.routes("1h", now=NOW)
    assert [row.route for row in rows] == [f"/{n}/" for n in range(29, -1, -1)]
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    top = query.overview("1h", now=NOW).top
    assert [(row.route, row.share, row.totals) for row in top] == [
        (row.route, pytest.approx(row.share), row.totals) for row in rows[:10]
    ]


def test_route_has_its_series_heat_databases_exceptions_and_samples(site: Site) -> None:
    one = site.process()
    slow = record(ttfb_ns=700 * MS, queries=5, db_ns=100 * MS, wait_ns=50 * MS, exception="shop.Sold", status=500)
    slow.database("archive").queries = 2
    slow.queries = {"SELECT 1": [5, MS, "views.py:1 in view"]}
    site.serve(one, slow, record(ttfb_ns=3 * MS), record(ttfb_ns=3 * MS), record("/b/", ttfb_ns=147 * MS))
    detail = query.route("/books/", "15m", now=NOW)
    assert detail is not None
    assert detail.row.totals.requests == 3
    assert detail.row.n_plus_one == 1
    assert detail.row.share == pytest.approx(706 / 853)
    assert [(cell.start_s, cell.upper_s, cell.count) for cell in detail.heat] == [
        (NOON, 2**-8, 2),
        (NOON, 2**-0.5, 1),
    ]
    assert {alias: (totals.queries, totals.rows) for alias, totals in detail.databases.items()} == {
        "archive": (2, 0),
        "default": (5, 10),
    }
    assert detail.databases["default"].parts_s == pytest.approx({"db": 0.1, "pool": 0.05})
    assert detail.exceptions == {"shop.Sold": 1}
    assert [sample.duration_s for sample in detail.samples] == pytest.approx([0.7, 0.003, 0.003])
    assert [point.totals.requests for point in detail.series if point.totals.requests] == [3]


def test_samples_are_found_by_route_limit_and_id(site: Site) -> None:
    one = site.process()
    for _ in range(3):
        site.serve(one, *(record(f"/{n}/", ttfb_ns=(n + 1) * MS) for n in range(5)))
        site.pass_time(700)
    now = site.clock.now_s
    assert [each.route for each in query.samples("1h", limit=3, now=now)] == ["/4/"] * 3
    assert len(query.samples("1h", limit=0, now=now)) == 0
    assert {each.route for each in query.samples("1h", route="/2/", now=now)} == {"/2/"}
    for each in query.samples("24h", now=now):
        assert query.sample(each.id) == each
    assert query.sample("0-aa-1") is None
    assert query.sample("no id") is None
    assert query.sample("") is None


def test_samples_of_before_the_period_are_left_out(site: Site) -> None:
    one = site.process()
    site.serve(one, record(ttfb_ns=999 * MS))
    site.pass_time(17 * 60)
    site.serve(one, record(ttfb_ns=5 * MS))
    assert [each.duration_s for each in query.samples("15m", now=site.clock.now_s)] == pytest.approx([0.005])


def test_deploy_is_marked_where_a_release_comes_that_was_not_there(site: Site) -> None:
    old = site.process("one:1:0000aaaa", release="v1")
    site.serve(old, record())
    site.pass_time(300)
    new = site.process("one:2:0000bbbb", release="v2")
    site.serve(new, record())
    marks = query.overview("1h", now=site.clock.now_s).marks
    assert [(mark.kind, mark.text) for mark in marks] == [
        ("start", "one:1:0000aaaa v1"),
        ("deploy", "v2"),
        ("start", "one:2:0000bbbb v2"),
    ]
    assert marks[1].at_s == marks[2].at_s == pytest.approx(NOW + 300)
    assert query.overview("1h", now=site.clock.now_s).releases == ("v1", "v2")
    site.pass_time(3600)
    assert [mark for mark in query.overview("1h", now=site.clock.now_s).marks if mark.kind == "deploy"] == []


def test_busy_share_and_queue_come_from_what_the_server_told(site: Site) -> None:
    one = site.process()
    site.serve(one, record(ttfb_ns=12_000 * MS, queue_ns=3_000 * MS))
    minute = one._aggregator.minute(NOW)
    minute.tally.thread_ns, minute.tally.queue_peak = 4 * 30 * 10**9, 7
    minute.changed += 1
    one.flush()
    point = next(point for point in query.overview("15m", now=NOW).series if point.start_s == NOON)
    assert point.busy_share == pytest.approx(0.1)
    assert point.threads == 4
    assert point.queue_peak == 7
    other = query.overview("15m", now=NOW).series[0]
    assert (other.busy_share, other.threads, other.queue_peak) == (None, None, None)


def test_damaged_row_costs_itself_alone_and_is_told_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    one, two = site.process("one:1:0000aaaa"), site.process("one:2:0000bbbb")
    site.serve(one, record(), record())
    site.serve(two, record())
    damaged = next(row for row in site.store.at(0, NOON) if row.owner == two.instance)
    broken = payload.pack(b"?")
    site.store.write([replace(damaged, version=9, summary=broken, detail=broken, samples=broken)])
    for _ in range(2):
        assert query.overview("1h", now=NOW).totals.requests == 2
        assert query.routes("1h", now=NOW)[0].totals.requests == 2
        assert len(query.samples("1h", now=NOW)) == 2
    assert caplog.text.count("cannot be read") == 1
    assert pipeline.status()["damaged"] == 1


def damaged_detail(detail: bytes, **sums: str) -> bytes:
    """The same with other sums, and what tells of damage in order."""
    unpacked = payload.unpack(detail)
    length = int.from_bytes(unpacked[:4], "little")
    head = json.loads(unpacked[4 : 4 + length])
    head["sums"].update(sums)
    written = json.dumps(head).encode()
    return payload.pack(len(written).to_bytes(4, "little") + written + unpacked[4 + length :])


@pytest.mark.parametrize("column", ["1,2", "x", "1.5"])
def test_row_whose_columns_are_damaged_costs_itself_alone(site: Site, column: str) -> None:
    one, two = site.process("one:1:0000aaaa"), site.process("one:2:0000bbbb")
    site.serve(one, record(), record())
    site.serve(two, record())
    damaged = next(row for row in site.store.at(0, NOON) if row.owner == two.instance)
    site.store.write([replace(damaged, version=9, detail=damaged_detail(damaged.detail, python_ns=column))])
    for _ in range(2):
        assert query.overview("1h", now=NOW).top[0].totals.requests == 2
        assert query.routes("1h", now=NOW)[0].totals.requests == 2
        found = query.route("/books/", "1h", now=NOW)
        assert found is not None
        assert found.row.totals.requests == 2


def test_row_of_a_newer_version_is_passed_over(site: Site) -> None:
    one = site.process()
    site.serve(one, record())
    (row,) = site.store.at(0, NOON)
    newer = bytes((payload.VERSION + 1,)) + b"what it will be"
    site.store.write([replace(row, owner="new:1:aa", summary=newer, detail=newer, samples=newer)])
    assert query.overview("1h", now=NOW).totals.requests == 1
    assert len(query.routes("1h", now=NOW)) == 1
    assert (pipeline.status()["newer"], pipeline.status()["damaged"]) == (1, 0)


def test_decoded_rows_are_remembered_within_bounds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    one = site.process()
    for _ in range(30):
        site.serve(one, record())
        site.pass_time(60)
    site.pass_time(600)
    now = site.clock.now_s
    decoded: list[int] = []
    unpack = payload.unpack_summary
    monkeypatch.setattr(payload, "unpack_summary", lambda data: decoded.append(1) or unpack(data))
    first = query.overview("1h", now=now)
    count = len(decoded)
    assert count >= 30
    assert query.overview("1h", now=now) == first
    assert len(decoded) - count < 5, "only those that may change are decoded again"
    reader = pipeline.worker().reader()
    assert reader._bytes > 0
    monkeypatch.setattr(reading, "MAX_REMEMBERED", 20_000)
    site.serve(one, record())
    site.pass_time(300)
    query.overview("1h", now=site.clock.now_s)
    query.routes("1h", now=site.clock.now_s)
    assert reader._bytes <= 20_000
    assert reader._bytes == sum(size for size, _ in reader._known.values())


def test_what_is_remembered_is_not_changed_by_being_asked(site: Site) -> None:
    one = site.process()
    site.serve(one, record(queries=2, cache_ns=5000, page_cache="hit", exception="a.B"))
    for _ in range(3):
        site.pass_time(400)
    now = site.clock.now_s
    first = query.overview("1h", now=now), query.routes("1h", now=now), query.route("/books/", "1h", now=now)
    for _ in range(3):
        assert (query.overview("1h", now=now), query.routes("1h", now=now)) == first[:2]
        assert query.route("/books/", "1h", now=now) == first[2]


def test_levels_of_the_query_are_those_of_the_store() -> None:
    assert set(reading._STEPS) == set(PERIODS)
    for period in PERIODS:
        assert Window.of(period, NOON, SETTINGS).level in LEVELS
    assert Window.of("1h", NOON, SETTINGS).series() == [Extent(60, NOON - 59 * 60, NOON + 1)]
