"""Numbers as people read them: rounded to what matters, with units, in the language of the request.

Everything takes None, and what is no finite number, and shows a dash for it.
"""

from __future__ import annotations

import datetime
import math
import sys
from typing import Final

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

NOTHING: Final = "\N{EN DASH}"

_PREFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_SIZES: Final = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def number(value: float | None, digits: int = 0) -> str:
    """With separators of thousands, and exactly so many decimals."""
    if value is None or not math.isfinite(value):
        return NOTHING
    rounded = round(value, digits) if digits else round(value)
    return str(number_format(rounded, digits, force_grouping=True))


def short(value: float | None) -> str:
    """Three digits that count, and a prefix from a million on: 0.012, 4.56, 78.9, 1,234, 5.67 M."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for limit, prefix in _PREFIXES:
        if abs(value) >= limit:
            return f"{_three(value / limit)} {prefix}"
    return _three(value)


def _three(value: float) -> str:
    size = abs(value)
    if size == 0:
        return number(0)
    if size >= 99.95:
        return number(value)
    # 0.0004 shows as 0.0004, and less than that as nothing.
    digits = 1 if size >= 9.995 else 2 if size >= 0.0995 else 3 if size >= 0.00995 else 4
    # 85 by itself, though a sum of floats made 84.99999999999999 of it.
    return number(value, 0 if digits <= 2 and float(f"{value:.12g}").is_integer() else digits)


def duration(seconds: float | None) -> str:
    """In the unit that fits: 430 µs, 12.3 ms, 1.23 s, 2 min 5 s, 3 h 4 min, 2 d 3 h."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds <= 0:
        return _("%(number)s ms") % {"number": number(0)}
    if seconds < 0.0009995:
        return _("%(number)s µs") % {"number": _three(seconds * 1e6)}
    if seconds < 0.9995:
        return _("%(number)s ms") % {"number": _three(seconds * 1e3)}
    if seconds < 59.95:
        return _("%(number)s s") % {"number": _three(seconds)}
    return _long(round(seconds))


def _long(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)s d %(hours)s h") % {"days": number(days), "hours": hours}
    if hours:
        return _("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
    return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": seconds}


def size(count: float | None) -> str:
    """Bytes: 512 B, 1.5 KiB, 12.3 MiB."""
    if count is None or not math.isfinite(count):
        return NOTHING
    for limit, unit in _SIZES:
        if abs(count) >= limit:
            return f"{_three(count / limit)} {unit}"
    return f"{number(count)} B"


def share(value: float | None) -> str:
    """Of 1, in percent: 0.25 %, 12.5 %, 100 %."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return pgettext("share", "%(number)s%%") % {"number": _three(value * 100)}


def rate(value: float | None) -> str:
    """Per second."""
    return NOTHING if value is None or not math.isfinite(value) else _("%(number)s/s") % {"number": short(value)}


def change(now: float | None, before: float | None) -> str:
    """How much more or less than before, with its sign; empty where that says nothing."""
    if now is None or not before or not math.isfinite(now) or not math.isfinite(before):
        return ""
    ratio = now / before - 1
    if abs(ratio) < 0.005:
        return pgettext("share", "±%(number)s%%") % {"number": number(0)}
    if ratio >= 9.995:
        return f"\N{MULTIPLICATION SIGN}{short(now / before)}"
    digits = number(abs(ratio) * 100)
    sign = "+" if ratio > 0 else "\N{MINUS SIGN}"
    return pgettext("share", "%(sign)s%(number)s%%") % {"sign": sign, "number": digits}


def moment(unix_s: float | None, *, day: bool = False, seconds: bool = False) -> str:
    """A point in time, in the current time zone: 14:05, 14:05:09, or 24 Nov. 14:05."""
    if unix_s is None or not math.isfinite(unix_s):
        return NOTHING
    try:
        at = datetime.datetime.fromtimestamp(unix_s, tz=timezone.get_current_timezone())
    except (OverflowError, OSError, ValueError):
        return NOTHING
    clock = date_format(at, "H:i:s" if seconds else "H:i")
    # Translators: a day without its year, in the letters of Django's date filter.
    pattern = pgettext("day", "j M")
    return f"{date_format(at, pattern)} {clock}" if day else str(clock)


def frame(call: str) -> str:
    """A call of a stack, `/srv/shop/views.py:12 in page`, from the folder on that modules are found in."""
    return next((call.removeprefix(folder) for folder in _folders() if call.startswith(folder)), call)


def _folders() -> list[str]:
    """The folders of sys.path with a slash, the longest first."""
    return sorted((f"{folder}/" for folder in sys.path if len(folder) > 1), key=len, reverse=True)


def iso(unix_s: float) -> str:
    """For the datetime attribute of a <time>; empty for a time that cannot be."""
    try:
        return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return ""
