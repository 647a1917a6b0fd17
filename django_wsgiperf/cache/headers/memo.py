"""Remembering what a text parsed to. Bounded in entries, and in bytes by not remembering long texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

MAX_REMEMBERED_CHARS: Final = 1024
MAX_REMEMBERED: Final = 1024

T = TypeVar("T")


def text_of(value: str | bytes) -> str:
    """Field values are octets; as text, each character is one (RFC 9110, 5.5)."""
    return value if isinstance(value, str) else value.decode("latin-1")


def remembered(parse: Callable[[str], T]) -> Callable[[str | bytes], T]:
    """A parser that takes text or octets and remembers its answers. The answers are shared: they must be immutable."""
    recall = lru_cache(MAX_REMEMBERED)(parse)

    @wraps(parse)
    def remembering(value: str | bytes) -> T:
        text = text_of(value)
        return recall(text) if len(text) <= MAX_REMEMBERED_CHARS else parse(text)

    return remembering
