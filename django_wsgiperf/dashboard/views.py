"""The screens: each reads what it shows from metrics/query.py and its like, and arranges it for its template.

A builder is given the page and returns the template's context. Who may see it, and how it becomes a response, is in
responses.py; what changes something is in actions.py.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from django_wsgiperf import conf
from django_wsgiperf.conf import ConfigurationError, MetricsSettings
from django_wsgiperf.metrics import query
from django_wsgiperf.metrics.results import Live, Overview, Point, ProcessRow

from . import (
    asking,
    charts,
    columns,
    configuration,
    explaining,
    figures,
    findings,
    formats,
    heat,
    pools,
    processes,
    response_cache,
    series,
    tiles,
)
from .finding import Facts
from .page import Page
from .series import Chart
from .waterfall import waterfall

TOP_COLUMNS: Final = ("requests", "p50_s", "p95_s", "errors", "queries")
"""Of the routes on the overview."""
TABLE_ROWS: Final = 30
"""Steps in the table behind a chart: the newest."""
SAMPLES: Final = 100
LARGEST: Final = 20
MAX_ROWS: Final = 500
"""Of the table of routes: ten thousand would be 17 MB, at every refresh. Sorting, filtering and exports are of all."""


def metrics_settings() -> MetricsSettings:
    """As set; as by default where they are wrong, which the checks report."""
    try:
        return conf.current("METRICS").values
    except ConfigurationError:
        return MetricsSettings()


def facts(overview: Overview, live: Live) -> Facts:
    values = metrics_settings()
    return Facts(overview, live, configuration.troubles(), values.apdex_ms / 1000, values.interval_s)


def build_overview(page: Page) -> dict[str, Any]:
    overview = query.overview(page.state.period, host=page.state.host)
    live = query.live()
    return {
        "overview": overview,
        "hosts": overview.hosts,
        "findings": [
            (finding, page.url(finding.screen, **finding.query) if finding.screen else "")
            for finding in findings.findings(facts(overview, live))
        ],
        "tiles": tiles.tiles(overview),
        "marks": sorted(overview.marks, key=lambda mark: -mark.at_s),
        "top": [(row, columns.cells(row, TOP_COLUMNS)) for row in overview.top],
        **charts_context(page, series.charts(overview.series, overview.step_s, overview.end_s, overview.marks)),
    }


def charts_context(page: Page, shown: list[Chart]) -> dict[str, Any]:
    """Charts, each with its picture and the table behind it; and all of them for the script, which draws its own."""
    plots = [charts.plot(chart) if page.has_pictures else None for chart in shown]
    return {
        "charts": [
            {"chart": chart, "plot": plot, "rows": chart.rows(TABLE_ROWS)}
            for chart, plot in zip(shown, plots, strict=True)
        ],
        "chart_data": {chart.key: chart.to_json() for chart in shown},
        "time_zone": timezone.get_current_timezone_name(),
        "table_rows": TABLE_ROWS,
    }


def build_routes(page: Page) -> dict[str, Any]:
    rows = query.routes(page.state.period, host=page.state.host)
    sort = page.state.own.get("sort", columns.DEFAULT_SORT)
    search = page.state.own.get("q", "")
    arranged = columns.arranged(rows, sort, search)
    return {
        "headings": [
            (heading, page.here(sort="" if heading.sort == columns.DEFAULT_SORT else heading.sort))
            for heading in columns.headings(sort)
        ],
        "rows": [(row, columns.cells(row)) for row in arranged[:MAX_ROWS]],
        "found": len(arranged),
        "left": max(0, len(arranged) - MAX_ROWS),
        "choices": {**page.state.choices(), **({"sort": sort} if sort != columns.DEFAULT_SORT else {})},
        "search": search,
        "count": len(rows),
        "exports": [(kind, page.here(export=kind)) for kind in ("csv", "json")],
    }


def build_route(page: Page) -> dict[str, Any]:
    name = page.state.own.get("route", "")
    detail = query.route(name, page.state.period, host=page.state.host)
    if detail is None:
        return {"subtitle": name, "route": name, "detail": None}
    totals = detail.row.totals
    step = _step(detail.series)
    return {
        "subtitle": name,
        "route": name,
        "detail": detail,
        "figures": figures.route_figures(totals, page.state.period_s, detail.row.share),
        "parts": charts.parts(totals.parts_s, totals.requests),
        "statuses": figures.counted({str(status): count for status, count in totals.statuses.items()}, totals.requests),
        "methods": figures.counted(totals.methods, totals.requests),
        "outcomes": response_cache.outcomes(totals),
        "heat": heat.heat_map(detail.heat, [point.start_s for point in detail.series]),
        "heat_table": heat.percent_table(detail.heat),
        "heat_legend": heat.legend(),
        "databases": [
            (alias, figures.database_figures(use, totals.requests)) for alias, use in sorted(detail.databases.items())
        ],
        "exceptions": figures.counted(detail.exceptions, totals.requests),
        "samples": detail.samples,
        **charts_context(page, series.charts(detail.series, step, time.time(), busy=False)),
    }


def _step(points: tuple[Point, ...]) -> int:
    return points[1].start_s - points[0].start_s if len(points) > 1 else 60


def build_samples(page: Page) -> dict[str, Any]:
    route = page.state.own.get("route", "")
    found = query.samples(page.state.period, host=page.state.host, route=route, limit=SAMPLES)
    return {"samples": sorted(found, key=lambda sample: -sample.duration_s), "route": route, "limit": SAMPLES}


def build_sample(page: Page) -> dict[str, Any]:
    sample = query.sample(page.state.own.get("id", ""))
    if sample is None:
        return {"sample": None}
    return {
        "subtitle": f"{sample.method} {sample.route}",
        "sample": sample,
        "rows": waterfall(sample),
        "parts": charts.parts(sample.parts_s),
        "facts": figures.sample_facts(sample),
        "repeated": sorted(sample.repeated, key=lambda query: -query.duration_s),
    }


def build_live(page: Page) -> dict[str, Any]:
    live = query.live(stacks=page.may_manage)
    host = page.state.host
    shown = Live(
        live.at_s,
        tuple(process for process in live.processes if host in ("", process.host)),
        tuple(each for each in live.running if host in ("", _host_of(live, each.process))),
    )
    lines = processes.lines(shown, metrics_settings().interval_s)
    return {
        "warning": live.problem,
        "live": shown,
        "hosts": tuple(sorted({process.host for process in live.processes})),
        "processes": lines,
        "running": processes.running(shown),
        "totals": figures.live_totals(lines),
    }


def _host_of(live: Live, instance: str) -> str:
    return next((process.host for process in live.processes if process.instance == instance), "")


def _living(live: Live, page: Page) -> list[ProcessRow]:
    """The processes of the host that is chosen; without those that are silent, whose connections and pages are gone."""
    told = processes.lines(live, metrics_settings().interval_s)
    return [line.row for line in told if not line.is_stale and page.state.host in ("", line.row.host)]


def build_databases(page: Page) -> dict[str, Any]:
    live = query.live()
    shown = _living(live, page)
    return {
        "warning": live.problem,
        "hosts": tuple(sorted({process.host for process in live.processes})),
        "pools": [
            (pool, charts.usage(pool.used, pool.idle, pool.max), figures.pool_durations(pool))
            for pool in pools.by_alias(shown)
        ],
        "by_process": pools.by_process(shown),
    }


def build_cache(page: Page) -> dict[str, Any]:
    explain = page.state.own.get("explain", "").strip()
    overview = query.overview(page.state.period, host=page.state.host)
    shown = _living(query.live(), page)
    return {
        "hosts": overview.hosts,
        **charts_context(page, series.cache_charts(overview.series, overview.step_s, overview.end_s, overview.marks)),
        "answered": formats.share(tiles.cached_share(overview.totals)),
        "outcomes": response_cache.outcomes(overview.totals),
        "outcome_bar": charts.bar(response_cache.outcomes(overview.totals), _("What became of the requests")),
        "refusals": response_cache.refusals(shown),
        "memory": response_cache.memory(shown),
        "store": response_cache.shared_store(shown),
        "counters": response_cache.counters(shown),
        "processes": shown,
        "explain": explain,
        "explained": explaining.rows(asking.explain(explain)) if explain else [],
        "largest": asking.largest(LARGEST),
        "is_there": any(process.page_cache for process in shown) or bool(overview.totals.page_cache),
    }


def build_settings(page: Page) -> dict[str, Any]:
    live = query.live()
    return {
        "warning": live.problem,
        "troubles": configuration.troubles(),
        "sections": configuration.sections(only_changed="changed" in page.state.own),
        "only_changed": "changed" in page.state.own,
        "other_address": page.here(changed="" if "changed" in page.state.own else "1"),
        "processes": processes.lines(live, metrics_settings().interval_s),
    }
