"""The Range field (RFC 9110, 14.1.2 and 14.2): which bytes are asked for. Nothing here raises."""

from __future__ import annotations

import re
from typing import Final

from .lists import split_list
from .memo import remembered

_spec = re.compile(r"([0-9]{0,18})-([0-9]{0,18})").fullmatch
_UNIT: Final = "bytes="


@remembered
def parse_range(value: str) -> tuple[tuple[int | None, int | None], ...] | None:
    """Pairs of first and last byte; (5, None) is from there to the end, (None, 5) the last five.

    None for other units and for what is malformed, both of which a server ignores. Positions of more than eighteen
    digits count as malformed."""
    if value[: len(_UNIT)].lower() != _UNIT:
        return None
    ranges: list[tuple[int | None, int | None]] = []
    for member in split_list(value[len(_UNIT) :]):
        found = _spec(member)
        if found is None:
            return None
        first, last = (int(digits) if digits else None for digits in found.groups())
        if first is None and last is None:
            return None
        if first is not None and last is not None and last < first:
            return None
        ranges.append((first, last))
    return tuple(ranges) or None
