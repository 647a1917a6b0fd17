"""The rules of a shared HTTP cache as functions of plain data: RFC 9111, 9110 (13 and 14), 5861, 9213 and 9875.

lookup says what a request allows, storing what a response allows, freshness what may be done with a stored response
now, validation what a 304 makes of it, conditional how to send it, invalidation what an unsafe request ends. Nothing
here reads a clock, a setting or a socket, and nothing raises for what a message holds.
"""

from .conditional import Answer, answer
from .freshness import Verdict, age_value, covers_errors, current_age, judge, time_to_live
from .invalidation import Invalidation, Target, invalidated_by
from .lookup import PLAIN, Ask, may_look_up
from .reasons import Forward, Reason
from .rules import ERROR_STATUSES, Rules
from .storing import Decision, may_store
from .validation import Freshened, conditions, confirmed_by, freshen, head_confirms

__all__ = [
    "ERROR_STATUSES",
    "PLAIN",
    "Answer",
    "Ask",
    "Decision",
    "Forward",
    "Freshened",
    "Invalidation",
    "Reason",
    "Rules",
    "Target",
    "Verdict",
    "age_value",
    "answer",
    "conditions",
    "confirmed_by",
    "covers_errors",
    "current_age",
    "freshen",
    "head_confirms",
    "invalidated_by",
    "judge",
    "may_look_up",
    "may_store",
    "time_to_live",
]
