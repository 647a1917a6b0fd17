"""Rules on what the requests run on: threads, the queue, database pools, processes and their releases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_wsgiperf.dashboard import formats, pools
from django_wsgiperf.dashboard.finding import Facts, Finding, Level
from django_wsgiperf.metrics.results import ProcessRow

BUSY_HIGH: Final = 0.8
BUSY_FULL: Final = 0.95
QUEUE_SLOW_S: Final = 0.05
QUEUE_BAD_S: Final = 0.5
POOL_SHARE: Final = 0.05
DEPLOY_S: Final = 600
"""As long as this after a start, two releases beside each other are a deploy that goes on."""
STALE_S: Final = 60.0


def saturated_threads(facts: Facts) -> Iterator[Finding]:
    shares = [point.busy_share for point in facts.overview.series if point.busy_share is not None]
    if not shares:
        return
    mean = sum(shares) / len(shares)
    full = sum(share >= BUSY_FULL for share in shares) / len(shares)
    if mean < BUSY_HIGH and full < 0.1:
        return
    totals = facts.overview.totals
    if totals.wall_s > 0 and totals.cpu_s / totals.wall_s > 0.6:
        remedy = _("The time goes into Python itself: add processes (WORKERS) or machines; more threads will not help.")
    else:
        remedy = _("Threads wait for something else most of the time: raise THREADS, or see where the time goes.")
    yield Finding(
        Level.ERROR if mean >= 0.9 else Level.WARNING,
        "saturated",
        _("Threads are saturated"),
        _("%(mean)s of all threads were busy on average, and nearly all of them in %(full)s of the time.")
        % {"mean": formats.share(mean), "full": formats.share(full)},
        remedy,
        "live",
    )


def queue_waits(facts: Facts) -> Iterator[Finding]:
    waited = facts.overview.totals.queue_p95_s
    if waited is not None and waited >= QUEUE_SLOW_S:
        yield Finding(
            Level.ERROR if waited >= QUEUE_BAD_S else Level.WARNING,
            "queue",
            _("Requests wait for a thread"),
            _("One request in 20 waited longer than %(waited)s before it began.")
            % {"waited": formats.duration(waited)},
            _("Raise THREADS or WORKERS, or shorten the routes that take the most time in all."),
            "routes",
        )


def pool_waits(facts: Facts) -> Iterator[Finding]:
    for pool in pools.by_alias(facts.live.processes):
        if pool.timeouts:
            yield Finding(
                Level.ERROR,
                "pool-timeouts",
                _("No connection in time: %(alias)s") % {"alias": pool.alias},
                ngettext(
                    "%(count)s request gave up waiting for a connection since the processes started.",
                    "%(count)s requests gave up waiting for a connection since the processes started.",
                    pool.timeouts,
                )
                % {"count": formats.number(pool.timeouts)},
                _("Raise MAX_SIZE of the pool, or find who holds connections for long: the log names the holders."),
                "databases",
            )
        if pool.outage:
            yield Finding(
                Level.ERROR,
                "pool-outage",
                _("The database cannot be reached: %(alias)s") % {"alias": pool.alias},
                pool.outage,
                _("See that the server runs and lets this host in; connections come back by themselves."),
                "databases",
            )
    waited = facts.overview.totals.parts_s.get("pool", 0.0)
    wall = facts.overview.totals.wall_s
    if wall > 0 and waited / wall >= POOL_SHARE:
        yield Finding(
            Level.WARNING,
            "pool-waits",
            _("Requests wait for a database connection"),
            _("%(share)s of all time was spent waiting for one.") % {"share": formats.share(waited / wall)},
            _("Raise MAX_SIZE of the pool as far as the database allows, or hold connections for a shorter time."),
            "databases",
        )


def version_skew(facts: Facts) -> Iterator[Finding]:
    releases = facts.overview.releases
    if len(releases) < 2:
        return
    youngest = max((process.started_s for process in facts.live.processes), default=0.0)
    goes_on = facts.live.at_s - youngest < DEPLOY_S
    yield Finding(
        Level.INFO if goes_on else Level.WARNING,
        "skew",
        _("Several releases run side by side"),
        _("Processes run %(releases)s.") % {"releases": ", ".join(releases)},
        _("A deploy seems to go on.") if goes_on else _("Restart the processes of the old release."),
        "live",
    )


def stale_processes(facts: Facts) -> Iterator[Finding]:
    silent = stale(facts.live.processes, facts.live.at_s, facts.interval_s)
    if silent:
        hosts = ", ".join(sorted({process.host for process in silent}))
        yield Finding(
            Level.WARNING,
            "stale",
            ngettext(
                "%(count)s process has not reported lately",
                "%(count)s processes have not reported lately",
                len(silent),
            )
            % {"count": len(silent)},
            _("On %(hosts)s.") % {"hosts": hosts},
            _("They were killed, or hang. Processes that have ended disappear from here after some minutes."),
            "live",
        )


def stale(processes: Sequence[ProcessRow], now_s: float, interval_s: float = 10.0) -> list[ProcessRow]:
    """The processes that neither answered just now nor reported for several intervals."""
    limit = max(STALE_S, 3 * interval_s)
    return [process for process in processes if not process.reachable and now_s - process.seen_s > limit]
