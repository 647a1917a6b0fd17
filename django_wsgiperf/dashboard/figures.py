"""Names and figures, said as the screens show them: of a route, of a sample, of the processes that live, of a pool."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import Sample, Totals

from . import formats, outcomes, pools, processes, tiles


def route_figures(totals: Totals, period_s: int, share: float) -> list[tuple[str, str]]:
    quantiles = totals.quantiles
    return [
        (_("Requests"), formats.short(totals.requests)),
        (_("Per second"), formats.rate(totals.requests / period_s)),
        (_("Share of all time"), formats.share(share)),
        ("p50", formats.duration(quantiles.p50)),
        ("p95", formats.duration(quantiles.p95)),
        ("p99", formats.duration(quantiles.p99)),
        (_("Slowest"), formats.duration(quantiles.max)),
        ("Apdex", formats.number(totals.apdex, 2)),
        (_("Server errors"), formats.share(tiles.per_request(totals.errors_5xx, totals))),
        (_("Queries per request"), formats.short(tiles.per_request(totals.queries, totals))),
        (_("Mean size"), formats.size(tiles.per_request(totals.bytes, totals))),
        (_("CPU"), formats.share(totals.cpu_s / totals.wall_s if totals.wall_s > 0 else None)),
    ]


def counted(counts: Any, whole: int) -> list[tuple[str, int, float]]:
    """Name, count and share, the most frequent first."""
    return sorted(
        ((name, n, n / whole if whole else 0.0) for name, n in counts.items()), key=lambda row: (-row[1], row[0])
    )


def database_figures(use: Totals, requests: int) -> list[str]:
    """Queries, rows and times for each request, as the table of databases shows them."""
    per = max(1, requests)
    return [
        formats.short(use.queries / per),
        rows_figure(use, per),
        formats.duration(use.parts_s.get("db", 0.0) / per),
        formats.duration(use.parts_s.get("pool", 0.0) / per),
    ]


def rows_figure(use: Totals, per: int) -> str:
    """Rows for each request, where the driver tells: SQLite's does not of SELECT."""
    if use.uncounted and not use.rows:
        return _("unknown")
    shown = formats.short(use.rows / per)
    return f"≥ {shown}" if use.uncounted else shown


def sample_facts(sample: Sample) -> list[tuple[str, str]]:
    told = [
        (_("When"), formats.moment(sample.at_s, day=True, seconds=True)),
        (_("Duration"), formats.duration(sample.duration_s)),
        (_("Status"), str(sample.status) if sample.status else formats.NOTHING),
        (_("Processor time"), formats.duration(sample.cpu_s)),
        (_("Queries"), formats.number(sample.queries)),
        (
            _("Response cache"),
            outcomes.outcome_label(sample.page_cache) if sample.page_cache else formats.NOTHING,
        ),
        (_("Exception"), sample.exception or formats.NOTHING),
        (_("Host"), sample.host or formats.NOTHING),
        (_("Request id"), sample.request_id or formats.NOTHING),
        (_("Trace id"), sample.trace_id or formats.NOTHING),
    ]
    return told


def live_totals(lines: list[processes.ProcessLine]) -> list[tuple[str, str]]:
    """Of the processes that live."""
    rows = [line.row for line in lines if not line.is_stale]
    threads = sum(row.threads or 0 for row in rows)
    busy = sum(row.busy or 0 for row in rows)
    told = {"busy": formats.number(busy), "all": formats.number(threads)}
    return [
        (_("Processes"), formats.number(len(rows))),
        (_("Busy threads"), _("%(busy)s of %(all)s") % told if threads else formats.NOTHING),
        (_("In the queue"), formats.number(sum(row.queued or 0 for row in rows)) if threads else formats.NOTHING),
        (_("Memory"), formats.size(sum(row.rss_bytes or 0 for row in rows))),
    ]


def pool_durations(pool: pools.PoolNumbers) -> list[tuple[str, pools.Durations]]:
    return [(_("Waited for"), pool.wait), (_("In use"), pool.use), (_("Opening"), pool.create)]
