"""Rules on the requests themselves: errors, slow routes, repeated queries, clients that leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _

from django_wsgiperf.dashboard import formats
from django_wsgiperf.dashboard.finding import Facts, Finding, Level
from django_wsgiperf.metrics.results import RouteRow, Totals

REPEATED_SHARE: Final = 0.05
FEWEST_REQUESTS: Final = 20
"""Fewer requests than this say nothing of a route."""
FEWEST_PAGES: Final = 200
ERROR_SHARE: Final = 0.01
ERROR_BAD_SHARE: Final = 0.05
ERROR_STEADY_SHARE: Final = 0.2
"""From here on errors are told of however many there were before: a site that has been down for hours is not well."""
FEWEST_ERRORS: Final = 10
ABORTED_SHARE: Final = 0.05
FEW: Final = 3
"""As many routes are named of those that have the same trouble."""


def error_burst(facts: Facts) -> Iterator[Finding]:
    now, before = facts.overview.totals, facts.overview.previous
    share, earlier = _errors(now), _errors(before)
    is_burst = share >= ERROR_SHARE and share >= 2 * earlier
    if now.errors_5xx < FEWEST_ERRORS or not (is_burst or share >= ERROR_STEADY_SHARE):
        return
    detail = _("%(count)s requests, %(share)s of all, ended in a server error; %(earlier)s in the period before.")
    worst = max(facts.overview.top, key=lambda row: row.totals.errors_5xx, default=None)
    named = worst if worst is not None and worst.totals.errors_5xx else None
    yield Finding(
        Level.ERROR if share >= ERROR_BAD_SHARE else Level.WARNING,
        "errors",
        _("More server errors than before") if is_burst and before.requests else _("Server errors"),
        detail
        % {
            "count": formats.number(now.errors_5xx),
            "share": formats.share(share),
            # Of no requests, 0 % is no news.
            "earlier": formats.share(earlier) if before.requests else _("nothing was measured"),
        },
        _("Most of them on %(route)s: its samples name the exception.") % {"route": named.route}
        if named
        else _("The log has the tracebacks."),
        "route" if named else "routes",
        {"route": named.route} if named else {},
    )


def _errors(totals: Totals) -> float:
    return totals.errors_5xx / totals.requests if totals.requests else 0.0


def slow_routes(facts: Facts) -> Iterator[Finding]:
    limit = 4 * facts.apdex_s
    slow = [
        row
        for row in facts.overview.top
        if row.totals.requests >= FEWEST_REQUESTS and (row.totals.quantiles.p95 or 0.0) > limit
    ]
    for row in sorted(slow, key=lambda row: -(row.totals.quantiles.p95 or 0.0))[:FEW]:
        yield Finding(
            Level.WARNING,
            "slow",
            _("Slow: %(route)s") % {"route": row.route},
            _("One request in 20 takes longer than %(p95)s; users give up at %(limit)s.")
            % {"p95": formats.duration(row.totals.quantiles.p95), "limit": formats.duration(limit)},
            _largest_part(row),
            "route",
            {"route": row.route},
        )


def _largest_part(row: RouteRow) -> str:
    known = {name: value for name, value in row.totals.parts_s.items() if value > 0}
    largest = max(known, key=lambda name: known[name], default="")
    return {
        "db": _("Most of its time is spent in the database: look at the queries of its slow samples."),
        "python": _("Most of its time is spent in Python, or waiting for other services: look at its sampled stacks."),
        "pool": _("Most of its time is spent waiting for a connection: raise MAX_SIZE of the pool."),
        "queue": _("Most of its time is spent waiting for a thread: raise THREADS or WORKERS."),
        "template": _("Most of its time is spent rendering templates: cache fragments, or render less."),
        "cache": _("Most of its time is spent in the cache: fetch several keys at once, or keep less in each."),
        "write": _("Most of its time is spent sending: the responses are large, or the clients slow."),
        "gc": _("Most of its time is spent collecting garbage: it makes many objects; freeze those from the start."),
    }.get(largest, _("Look at its slow samples."))


def repeated_queries(facts: Facts) -> Iterator[Finding]:
    repeating = [
        row
        for row in facts.overview.top
        if row.n_plus_one >= FEW and row.n_plus_one >= REPEATED_SHARE * row.totals.requests
    ]
    for row in repeating[:FEW]:
        queries = row.totals.queries / max(1, row.totals.requests)
        yield Finding(
            Level.WARNING,
            "n-plus-one",
            _("The same query again and again: %(route)s") % {"route": row.route},
            _("%(share)s of its requests repeat a query; they make %(queries)s queries each.")
            % {
                "share": formats.share(min(1.0, row.n_plus_one / max(1, row.totals.requests))),
                "queries": formats.short(queries),
            },
            _("Use select_related() or prefetch_related(); the slow samples name the line that asks."),
            "route",
            {"route": row.route},
        )


def clients_leave(facts: Facts) -> Iterator[Finding]:
    totals = facts.overview.totals
    if totals.requests >= FEWEST_PAGES and totals.aborted / totals.requests >= ABORTED_SHARE:
        yield Finding(
            Level.WARNING,
            "aborted",
            _("Clients leave before the answer"),
            _("%(share)s of the requests were given up by their clients.")
            % {"share": formats.share(totals.aborted / totals.requests)},
            _("Users or a proxy lose patience: look at the slowest routes, and at the proxy's time limits."),
            "samples",
        )


def nothing_measured(facts: Facts) -> Iterator[Finding]:
    if facts.overview.totals.requests == 0:
        yield Finding(
            Level.INFO,
            "empty",
            _("No request was measured in this period"),
            _("There is nothing to show for it."),
            _("Choose a longer period, or see that RequestTimingMiddleware is the first in MIDDLEWARE."),
            "settings",
        )
