"""What the screens show of made-up traffic, and that their markup holds for a strict policy and a screen reader."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client, override_settings

from django_wsgiperf.dashboard.screens import SCREENS
from django_wsgiperf.dashboard.views import MAX_ROWS
from django_wsgiperf.metrics import query
from django_wsgiperf.metrics.results import Quantiles, RepeatedQuery, RouteDetail, Span
from django_wsgiperf.metrics.stores.base import Store
from tests.dashboard.factories import (
    LiveFactory,
    OverviewFactory,
    PointFactory,
    ProcessFactory,
    RowFactory,
    RunningFactory,
    SampleFactory,
    TotalsFactory,
    pool_snapshot,
)
from tests.dashboard.markup import Markup
from tests.dashboard.project import PREFIX

pytestmark = pytest.mark.django_db

NASTY = "<script>alert('x')</script>\"'&"


def addresses(store: Store | None = None) -> list[str]:
    """Every screen, those of one route and one sample included."""
    sample = query.samples("1h", limit=1)[0].id if query.samples("1h", limit=1) else "x"
    return [
        *(PREFIX + screen.path for screen in SCREENS if screen.name not in ("route", "sample")),
        f"{PREFIX}routes/detail/?route={quote('/api/books/')}",
        f"{PREFIX}samples/detail/?id={sample}",
    ]


def show_everything(monkeypatch: pytest.MonkeyPatch, **of: Any) -> None:
    """Have the queries answer with the given results."""
    for name, value in of.items():
        monkeypatch.setattr(query, name, lambda *_, answer=value, **__: answer)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_markup_of_every_screen_is_sound(busy: Store, manager: Client, language: str) -> None:
    for address in addresses():
        text = manager.get(address, headers={"Accept-Language": language}).text
        assert Markup(text).faults == [], address
        assert ('dir="rtl"' in text) is (language == "ar")


def test_markup_is_sound_without_any_measurement(manager: Client) -> None:
    for address in addresses():
        assert Markup(manager.get(address).text).faults == [], address


def test_overview_tells_findings_numbers_charts_and_routes(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX).text
    assert 'data-finding="n-plus-one"' in text
    for tile in ("requests", "p50", "p95", "p99", "errors", "apdex", "busy", "queue", "cached", "db", "queries"):
        assert f'data-tile="{tile}"' in text
    for chart in ("requests", "times", "parts", "errors", "busy"):
        assert f'data-chart="{chart}"' in text
    assert "/search/" in text
    assert '<span class="wsgiperf-tag">Deploy</span>' in text


def test_every_chart_has_a_picture_a_legend_and_a_table(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX).text
    charts = text.count("data-chart=")
    assert charts == 5
    assert text.count('class="wsgiperf-plot-picture"') == charts
    assert text.count("Show data") == charts
    assert len(re.findall(r'<caption class="wsgiperf-hidden">', text)) == charts


@pytest.mark.parametrize("path", ["live/", "cache/", "settings/"])
def test_silence_of_all_processes_is_explained(
    viewer: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    totals = TotalsFactory(page_cache={})
    show_everything(monkeypatch, live=LiveFactory(processes=()), overview=OverviewFactory(totals=totals))
    text = viewer.get(PREFIX + path).text
    assert "They do so with RequestTimingMiddleware" not in text
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "RequestTiming" not in name]
    text = viewer.get(PREFIX + path).text
    assert "No process has reported lately." in text
    assert "They do so with RequestTimingMiddleware in MIDDLEWARE, which is not there." in text


@pytest.mark.parametrize("path", ["samples/", "routes/detail/?route=/checkout/"])
def test_colours_of_the_samples_bars_are_named(busy: Store, viewer: Client, path: str) -> None:
    section = viewer.get(PREFIX + path).text.partition('id="wsgiperf-samples"')[2]
    legend, _, rows = section.partition("<tbody")
    named = set(re.findall(r'wsgiperf-swatch wsgiperf-back-(\w+)"></span>[A-Z]', legend))
    assert {"python", "db"} <= named
    drawn = set(re.findall(r'class="wsgiperf-fill-(\w+)"', rows.partition("</tbody>")[0]))
    assert "db" in drawn
    assert drawn <= named


def test_choices_are_carried_on_by_every_link(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX, {"period": "6h", "host": "web-1", "refresh": "60"}).text
    links = re.findall(rf'href="({PREFIX}[a-z]*/[^"]*)"', text)
    assert len(links) > 15
    assert all("period=6h&amp;host=web-1&amp;refresh=60" in link for link in links)
    assert 'data-refresh="60"' in text


def test_choices_that_do_not_exist_are_the_defaults(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX, {"period": "century", "refresh": "0.001", "host": "nobody"}).text
    assert 'data-refresh="10"' in text
    assert '<option value="nobody" selected>' in text
    assert "No request was measured" in text


def test_hosts_of_the_period_can_be_chosen(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX).text
    assert [host in text for host in ('value="web-1"', 'value="web-2"')] == [True, True]


def test_of_very_many_routes_the_first_are_shown_and_all_exported(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_everything(monkeypatch, routes=RowFactory.build_batch(MAX_ROWS + 2))
    text = viewer.get(f"{PREFIX}routes/").text
    assert text.count('class="wsgiperf-route"') == MAX_ROWS
    assert "2 more routes: filter, or export all." in text
    assert f"{MAX_ROWS + 2} of {MAX_ROWS + 2}" in text
    assert len(viewer.get(f"{PREFIX}routes/", {"export": "json"}).json()["routes"]) == MAX_ROWS + 2


def test_routes_are_sorted_and_filtered_by_the_address(busy: Store, viewer: Client) -> None:
    def names(**query: str) -> list[str]:
        text = viewer.get(f"{PREFIX}routes/", query).text
        return re.findall(r'<a class="wsgiperf-route" [^>]*>([^<]*)</a>', text)

    by_share = [row.route.replace("<", "&lt;").replace(">", "&gt;") for row in query.routes("1h")]
    assert names() == by_share
    assert names(sort="route") == sorted(names())
    assert names(sort="-queries")[0] == "/stock/export/"
    assert set(names(q="BASKET")) == {"/basket/", "/basket/add/&lt;int:pk&gt;/"}
    assert names(q="nothing like it") == []
    assert names(sort="nonsense") == names()


def test_head_of_the_table_says_how_it_is_sorted(busy: Store, viewer: Client) -> None:
    text = viewer.get(f"{PREFIX}routes/", {"sort": "-p95_s", "q": "b"}).text
    assert text.count('aria-sort="descending"') == 1
    assert f'href="{PREFIX}routes/?sort=p95_s&amp;q=b"' in text
    assert f'href="{PREFIX}routes/?q=b"' in text  # back to the default


def test_exports_are_what_the_page_shows(busy: Store, viewer: Client) -> None:
    csv = viewer.get(f"{PREFIX}routes/", {"export": "csv", "q": "basket", "sort": "route"})
    assert csv["Content-Type"] == "text/csv; charset=utf-8"
    assert csv["Content-Disposition"] == 'attachment; filename="routes-1h.csv"'
    lines = csv.text.splitlines()
    assert [line.split(",")[0] for line in lines] == ["route", "/basket/", "/basket/add/<int:pk>/"]
    data = viewer.get(f"{PREFIX}routes/", {"export": "json", "period": "6h"}).json()
    assert data["schema"] == 1
    assert data["period"] == "6h"
    assert [row["route"] for row in data["routes"]] == [row.route for row in query.routes("6h")]
    assert data["routes"][0]["requests"] > 10


def test_route_shows_its_map_codes_methods_databases_and_samples(busy: Store, viewer: Client) -> None:
    text = viewer.get(f"{PREFIX}routes/detail/", {"route": "/checkout/"}).text
    for id in ("parts", "heat", "statuses", "methods", "outcomes", "databases", "samples"):
        assert f'id="wsgiperf-{id}"' in text, id
    assert "wsgiperf-heat-6" in text
    assert "302" in text
    assert "POST" in text


def test_sample_shows_a_waterfall_with_repeated_queries_as_one(busy: Store, viewer: Client) -> None:
    sample = query.samples("1h", route="/api/books/", limit=1)[0]
    text = viewer.get(f"{PREFIX}samples/detail/", {"id": sample.id}).text
    assert text.count("SELECT stock.quantity") == 2  # as repeated, and in the waterfall
    assert "24\N{MULTIPLICATION SIGN}" in text
    assert "shop/api.py:57 in books" in text
    assert sample.request_id in text
    for kind in ("queue", "middleware", "view", "db", "write"):
        assert f"wsgiperf-fill-{kind}" in text


def test_sampled_stacks_are_shown(busy: Store, viewer: Client) -> None:
    sample = next(each for each in query.samples("1h", route="/supplier/<int:pk>/") if each.stacks)
    assert "shop/suppliers.py:40 in ask" in viewer.get(f"{PREFIX}samples/detail/", {"id": sample.id}).text


def test_live_marks_silent_and_differing_processes(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = LiveFactory().at_s
    processes = (
        *ProcessFactory.build_batch(3, release="2"),
        ProcessFactory(release="1"),
        ProcessFactory(release="1", seen_s=now - 500, reachable=False),
    )
    show_everything(monkeypatch, live=LiveFactory(processes=processes))
    text = viewer.get(f"{PREFIX}live/").text
    assert text.count('class="wsgiperf-stale"') == 1
    assert text.count(">silent<") == 1
    assert text.count(">differs<") == 2
    assert "12 of 48" in text


def test_running_requests_show_statement_and_stack_and_a_button_to_those_who_may(
    viewer: Client, manager: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = (
        RunningFactory(),
        RunningFactory(key="8", route="/other/", interruptible=False),
        RunningFactory(route="(wsgiperf)"),
    )
    show_everything(monkeypatch, live=LiveFactory(running=running))
    text = viewer.get(f"{PREFIX}live/").text
    assert "SELECT pg_sleep(%s)" in text
    assert "shop/views.py:12 in slow" in text
    assert "(wsgiperf)" not in text
    assert "/live/interrupt/" not in text
    assert manager.get(f"{PREFIX}live/").text.count("/live/interrupt/") == 1


def test_stacks_are_taken_for_those_who_may_act_on_them(
    viewer: Client, manager: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def live(stacks: bool = False) -> Any:
        asked.append(stacks)
        return LiveFactory()

    monkeypatch.setattr(query, "live", live)
    viewer.get(f"{PREFIX}live/")
    manager.get(f"{PREFIX}live/")
    assert asked == [False, True]


def test_pools_are_shown_in_sum_and_by_process(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = pool_snapshot(**{"db.client.connection.timeouts": 7, "closed": {"lifetime": 3}})
    processes = ProcessFactory.build_batch(2, pools=(snapshot,))
    show_everything(monkeypatch, live=LiveFactory(processes=tuple(processes)))
    page = Markup(viewer.get(f"{PREFIX}databases/").text)
    assert "Time-outs 14" in page.own()
    assert "lifetime 6" in page.own()
    assert page.own().count("2 / 4") == 2
    assert "Waiting now 4" in page.own()


def test_pools_of_a_process_that_was_killed_do_not_count(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = ProcessFactory(pools=(pool_snapshot(),))
    killed = ProcessFactory(pools=(pool_snapshot(),), page_cache={"refusals": {"gone": 3}}, reachable=False, seen_s=0)
    show_everything(monkeypatch, live=LiveFactory(processes=(alive, killed)))
    page = Markup(viewer.get(f"{PREFIX}databases/").text).own()
    assert page.count("2 / 4") == 1
    assert "Waiting now 2" in page
    assert f"{alive.host} {alive.pid}" in page
    assert f"{killed.host} {killed.pid}" not in page
    show_everything(monkeypatch, live=LiveFactory(processes=(alive, killed)), overview=OverviewFactory())
    assert "gone" not in Markup(viewer.get(f"{PREFIX}cache/").text).own()


def test_no_pool_is_said_to_be_none(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    show_everything(monkeypatch, live=LiveFactory())
    assert "No process reports a pool" in viewer.get(f"{PREFIX}databases/").text


def test_settings_have_origins_and_hide_secrets(viewer: Client, settings: Any) -> None:
    secret = "s3cret-token-of-the-statistics"
    with override_settings(WSGIPERF={"SERVER": {"STATS_TOKEN": secret, "THREADS": 7}, "METRICS": {"STORE": "memory"}}):
        text = viewer.get(f"{PREFIX}settings/").text
        changed = viewer.get(f"{PREFIX}settings/", {"changed": "1"}).text
    assert secret not in text
    assert "********" in text
    assert "WSGIPERF[&#x27;SERVER&#x27;][&#x27;THREADS&#x27;]" in text
    assert "APDEX_MS" in text
    assert "APDEX_MS" not in changed
    assert "STATS_TOKEN" in changed


def test_settings_that_are_wrong_are_told_of_and_break_no_screen(viewer: Client) -> None:
    with override_settings(WSGIPERF={"SERVER": {"THREADS": 0}, "METRICS": {"STORE": "memory"}}):
        text = viewer.get(f"{PREFIX}settings/").text
        overview = viewer.get(PREFIX)
    assert "wsgiperf.E003" in text
    assert overview.status_code == 200
    assert 'data-finding="settings-error"' in overview.text


HUGE = 10**21


def test_huge_and_missing_values_break_nothing(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    totals = TotalsFactory(
        requests=HUGE,
        errors_5xx=HUGE,
        wall_s=1e30,
        parts_s={"db": 1e30, "python": 1e-30},
        quantiles=Quantiles(None, 1e18, float("inf"), float("nan"), 1e-12),
        apdex=None,
        page_cache={"hit": HUGE, "unheard-of": 1},
        statuses={599: HUGE},
        bytes=HUGE,
    )
    points = (PointFactory(totals=totals, busy_share=None), PointFactory(totals=TotalsFactory(requests=0, parts_s={})))
    row = RowFactory(totals=totals, share=1.0, n_plus_one=HUGE)
    show_everything(
        monkeypatch,
        overview=OverviewFactory(totals=totals, series=points, top=(row,), begin_s=0, end_s=0),
        live=LiveFactory(processes=(ProcessFactory(rss_bytes=HUGE, threads=None, busy=None, started_s=-1e18),)),
        routes=[row],
        route=RouteDetail(row, points, (), {"default": totals}, ()),
        sample=SampleFactory(duration_s=1e12, spans=(Span("new-kind", 1e15, 0.0, "x" * 50_000),), at_s=1e20),
        samples=[SampleFactory(at_s=-1e20, status=0)],
    )
    for address in addresses():
        response = viewer.get(address)
        assert response.status_code == 200, address
        assert Markup(response.text).faults == []
        assert len(response.content) < 400_000


def test_names_from_outside_are_text_and_nothing_else(manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    totals = TotalsFactory(
        statuses={200: 1}, methods={NASTY: 1}, page_cache={NASTY: 500, "bypass": 5000}, errors_5xx=900
    )
    row = RowFactory(route=NASTY, totals=totals, n_plus_one=900)
    sample = SampleFactory(
        id=NASTY,
        route=NASTY,
        method=NASTY,
        exception=NASTY,
        request_id=NASTY,
        host=NASTY,
        spans=(Span("db", 0.0, 0.1, NASTY * 30), Span(NASTY, 0.0, 0.1, NASTY)),
        repeated=(RepeatedQuery(NASTY, 9, 0.1, NASTY),),
        stacks=(NASTY,),
    )
    process = ProcessFactory(
        instance=NASTY,
        host=NASTY,
        release=NASTY,
        pools=(pool_snapshot(outage=NASTY, closed={NASTY: 1}, **{"db.client.connection.pool.name": NASTY}),),
        page_cache={"refusals": {NASTY: 3}, NASTY: 5, "store": {NASTY: NASTY}, "memory": {"entries": 1}},
        pipeline={"last_error": NASTY},
    )
    running = RunningFactory(process=NASTY, key=NASTY, route=NASTY, sql=NASTY, stack=(NASTY,), request_id=NASTY)
    show_everything(
        monkeypatch,
        overview=OverviewFactory(top=(row,), hosts=(NASTY,), releases=(NASTY, "2"), totals=totals),
        routes=[row],
        route=RouteDetail(row, (PointFactory(),), (), {NASTY: totals}, (sample,), {NASTY: 2}),
        sample=sample,
        samples=[sample],
        live=LiveFactory(processes=(process,), running=(running,)),
    )
    for address in addresses():
        text = manager.get(address).text
        assert "<script>alert" not in text, address
        assert Markup(text).faults == [], address
