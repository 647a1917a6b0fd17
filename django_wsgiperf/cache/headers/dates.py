"""HTTP-date in its three formats (RFC 9110, 5.6.7), read as RFC 9111, 4.2 asks of caches: any case, GMT or UTC only.

Two digits of a year need to know today, which is passed in: there is no clock here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from .memo import remembered

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY: Final = "(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY: Final = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_ZONE: Final = "(?:gmt|utc)"
_FORMATS: Final = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII).fullmatch
    for pattern in (
        f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} {_ZONE}",
        f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} {_ZONE}",
        f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)


def parse_date(value: str | bytes, now: float) -> float | None:
    """Unix seconds; None when it is no HTTP-date. `now` tells which century two digits of a year are of."""
    found = _read(value)
    if not isinstance(found, tuple):
        return found
    year, *rest = found
    # More than fifty years ahead is the latest such year that is past (RFC 9110, 5.6.7).
    century = datetime.fromtimestamp(min(max(now, 0.0), 2.0**36), UTC).year // 100 * 100
    for candidate in (century + 100, century, century - 100):
        stamp = _timestamp(candidate + year, *rest)
        if stamp is not None and stamp <= now + 50 * 365.2425 * 86400:
            return stamp
    return None


@remembered
def _read(value: str) -> float | tuple[int, int, int, int, int, int] | None:
    """Unix seconds; where the year has two digits, its parts from the year on."""
    value = value.strip(" \t")
    for matches in _FORMATS:
        found = matches(value)
        if found is not None:
            month = _MONTHS.index(found["month"].lower()) + 1
            year, day, hour, minute, second = (int(found[name]) for name in ("year", "day", "hour", "minute", "second"))
            if len(found["year"]) == 2:
                return year, month, day, hour, minute, second
            return _timestamp(year, month, day, hour, minute, second)
    return None


def _timestamp(year: int, month: int, day: int, hour: int, minute: int, second: int) -> float | None:
    # A leap second is a time (RFC 9110, 5.6.7) that Python cannot hold; the one before it is no later.
    try:
        return datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def format_date(when: float) -> str:
    """An IMF-fixdate, which says whole seconds: never later than `when`. Raises ValueError past the year 9999."""
    return _format(when // 1)


@lru_cache(64)
def _format(second: float) -> str:
    moment = datetime.fromtimestamp(second, UTC)
    return f"{_DAYS[moment.weekday()]}, {moment:%d} {_MONTHS[moment.month - 1].title()} {moment:%Y %H:%M:%S} GMT"
