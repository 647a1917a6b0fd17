"""What is wrong, in plain words, with what to do about it: the rules of rules/ in their order, and what comes of them.

Most urgent first; when no rule has anything to say, that is a finding too, a green one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import formats
from .finding import Facts, Finding, Level
from .rules import capacity, requests, upkeep

Rule = Callable[[Facts], Iterable[Finding]]


def findings(facts: Facts) -> list[Finding]:
    """Everything that the rules find, most urgent first; one green line when there is nothing to do."""
    order = list(Level)
    found = sorted((finding for rule in RULES for finding in rule(facts)), key=lambda each: order.index(each.level))
    if not any(finding.level in (Level.ERROR, Level.WARNING) for finding in found) and facts.overview.totals.requests:
        requests = facts.overview.totals.requests
        detail = ngettext(
            "%(count)s request was measured in this period, and nothing needs attention.",
            "%(count)s requests were measured in this period, and nothing needs attention.",
            requests,
        ) % {"count": formats.number(requests)}
        found.insert(0, Finding(Level.OK, "ok", _("All is well"), detail))
    return found


RULES: Final[tuple[Rule, ...]] = (
    upkeep.bad_settings,
    upkeep.dropped_records,
    requests.error_burst,
    capacity.saturated_threads,
    capacity.queue_waits,
    capacity.pool_waits,
    requests.slow_routes,
    requests.repeated_queries,
    upkeep.missed_cache,
    upkeep.passed_by_response_cache,
    requests.clients_leave,
    capacity.version_skew,
    capacity.stale_processes,
    upkeep.unread_rows,
    upkeep.too_many_routes,
    requests.nothing_measured,
)
"""In this order among those of one level."""
