"""What the response cache did with a request, in words and in the order in which it is shown."""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext as _

OUTCOMES: Final = ("hit", "stale", "collapsed", "revalidated", "miss", "bypass")


def outcome_label(outcome: str) -> str:
    """An outcome in words; one that is not known as it is called."""
    return {
        "hit": _("Hit"),
        "stale": _("Hit, stale"),
        "collapsed": _("Waited for another"),
        "revalidated": _("Not modified"),
        "miss": _("Miss"),
        "bypass": _("Passed by"),
    }.get(outcome, outcome)
