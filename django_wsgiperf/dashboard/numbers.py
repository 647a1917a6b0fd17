"""Reads numbers out of what other processes reported, which may be older or newer than this code, or broken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: object) -> float:
    """The value where it is a finite number, else 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return 0.0


def integer(value: object) -> int:
    return int(number(value))


def mapping(data: object, *keys: str) -> Mapping[str, Any]:
    """What is under the keys, one inside the other, where it is a mapping; else an empty one."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
