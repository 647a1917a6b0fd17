"""Rules on settings, caches, and the measurements themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_wsgiperf.dashboard import formats
from django_wsgiperf.dashboard.finding import Facts, Finding, Level
from django_wsgiperf.dashboard.numbers import integer, mapping

FEWEST_LOOKUPS: Final = 500
HIT_SHARE: Final = 0.5
FEWEST_PAGES: Final = 200
BYPASS_SHARE: Final = 0.5


def _most(facts: Facts, name: str) -> int:
    """Of what processes count of the same rows or routes: the sum of their numbers would count them several times."""
    return max((integer(process.pipeline.get(name)) for process in facts.live.processes), default=0)


def bad_settings(facts: Facts) -> Iterator[Finding]:
    for level, title in ((Level.ERROR, _("Settings are wrong")), (Level.WARNING, _("Settings are unwise"))):
        found = [trouble for trouble in facts.troubles if trouble.level == level]
        if found:
            first = found[0]
            more = len(found) - 1
            detail = f"{first.message} ({first.id})"
            if more:
                said = ngettext("%(count)s more on the settings page.", "%(count)s more on the settings page.", more)
                detail = f"{detail} {said % {'count': more}}"
            yield Finding(level, f"settings-{level}", title, detail, first.hint, "settings")


def dropped_records(facts: Facts) -> Iterator[Finding]:
    dropped = sum(integer(process.pipeline.get("dropped")) for process in facts.live.processes)
    if dropped:
        yield Finding(
            Level.WARNING,
            "dropped",
            _("Measurements were lost"),
            ngettext(
                "%(count)s request was not counted, because too many waited to be.",
                "%(count)s requests were not counted, because too many waited to be.",
                dropped,
            )
            % {"count": formats.number(dropped)},
            _("The numbers are too low by these. See that the store answers, or raise MAX_PENDING."),
            "settings",
        )
    failing = [process for process in facts.live.processes if process.pipeline.get("last_error")]
    if failing:
        yield Finding(
            Level.ERROR,
            "pipeline",
            _("Measurements cannot be written"),
            str(failing[0].pipeline["last_error"]),
            _("They are kept in memory for some minutes. See that the store of the metrics can be reached."),
            "settings",
        )


def unread_rows(facts: Facts) -> Iterator[Finding]:
    damaged = _most(facts, "damaged")
    if damaged:
        yield Finding(
            Level.WARNING,
            "damaged",
            _("Stored measurements are damaged"),
            ngettext(
                "%(count)s row could not be read and is in no number.",
                "%(count)s rows could not be read and are in no number.",
                damaged,
            )
            % {"count": formats.number(damaged)},
            _("The log django_wsgiperf.metrics says of which process and time. See what else writes to the store."),
            "settings",
        )
    newer = _most(facts, "newer")
    if newer:
        yield Finding(
            Level.INFO,
            "newer",
            _("Measurements of a newer version are kept and not shown"),
            ngettext(
                "A process of an older version has met %(count)s row that it cannot read.",
                "A process of an older version has met %(count)s rows that it cannot read.",
                newer,
            )
            % {"count": formats.number(newer)},
            _("They count again when all processes run the newer version."),
            "live",
        )


def too_many_routes(facts: Facts) -> Iterator[Finding]:
    more = _most(facts, "routes_other")
    if more or any(row.route == "(other)" for row in facts.overview.top):
        yield Finding(
            Level.INFO,
            "routes",
            _("Some routes are counted together as (other)"),
            ngettext(
                "There is at least %(count)s more route than are told apart.",
                "There are at least %(count)s more routes than are told apart.",
                more,
            )
            % {"count": formats.number(more)}
            if more
            else _("There are more routes than are told apart."),
            _("Raise MAX_ROUTES, or name routes with ROUTE_NAMER."),
            "settings",
        )


def missed_cache(facts: Facts) -> Iterator[Finding]:
    totals = facts.overview.totals
    asked = totals.cache_hits + totals.cache_misses
    if asked >= FEWEST_LOOKUPS and totals.cache_hits / asked < HIT_SHARE:
        yield Finding(
            Level.WARNING,
            "cache-misses",
            _("Django's caches miss more often than they hit"),
            _("%(share)s of %(count)s look-ups found something.")
            % {"share": formats.share(totals.cache_hits / asked), "count": formats.number(asked)},
            _("Keep values longer, give the cache more memory, or do not cache what is asked for only once."),
        )


def passed_by_response_cache(facts: Facts) -> Iterator[Finding]:
    outcomes = facts.overview.totals.page_cache
    seen = sum(outcomes.values())
    passed = outcomes.get("bypass", 0)
    if seen < FEWEST_PAGES or passed / seen < BYPASS_SHARE:
        return
    reasons: Counter[str] = Counter()
    for process in facts.live.processes:
        reasons.update({name: integer(count) for name, count in mapping(process.page_cache, "refusals").items()})
    detail = _("%(share)s of the requests passed it by.") % {"share": formats.share(passed / seen)}
    if reasons:
        reason, count = reasons.most_common(1)[0]
        said = _("The most frequent reason not to keep a response: %(reason)s (%(count)s times).")
        detail = f"{detail} {said % {'reason': reason, 'count': formats.number(count)}}"
    yield Finding(
        Level.INFO,
        "cache-bypass",
        _("The response cache has little to do"),
        detail,
        _("Mark public views with cache_response(), and see that no middleware sets a cookie on them."),
        "cache",
    )
