"""Shared memory in which every worker keeps what it has counted, so that it is not lost when the worker is.

An anonymous memory map made in the master before the first fork, with a place for each worker of the scoreboard's first
rows. A place has one writer, the worker whose row it is, and two halves: it writes the one that nobody reads, then
turns over. Whoever is killed in the middle leaves the other half as it was. What the bytes mean is others' business.
"""

from __future__ import annotations

import mmap
import secrets
from typing import Final

_HEAD: Final = 32
_PLACES_MORE: Final = 8
_TRIES: Final = 100


class Ledger:
    """`places` of `size` bytes at most. Memory that is not written to is not used."""

    _the_one: Ledger | None = None

    def __init__(self, places: int, size: int) -> None:
        self._size = (size + 7) // 8 * 8
        self._stride = _HEAD + 2 * self._size
        self._number = places
        self._map = mmap.mmap(-1, places * self._stride)
        self._words = memoryview(self._map).cast("q")
        self.name = secrets.token_hex(8)
        """No other server has it."""

    @classmethod
    def shared(cls, workers: int, size: int) -> Ledger:
        """The ledger of this server, made by the master: for twice the workers, because of HUP, and some more."""
        if cls._the_one is None:
            cls._the_one = cls(2 * workers + _PLACES_MORE, size)
        return cls._the_one

    def places(self) -> range:
        return range(self._number)

    def has(self, place: int) -> bool:
        """Whether there is such a place: not for workers that were added by TTIN beyond all measure."""
        return place < self._number

    def write(self, place: int, data: bytes) -> bool:
        """Replace what is at `place`; False when it does not fit. One thread of one process at a time."""
        if len(data) > self._size:
            return False
        start = place * self._stride
        turns = self._words[start // 8]
        half = (turns + 1) & 1
        at = start + _HEAD + half * self._size
        self._map[at : at + len(data)] = data
        self._words[start // 8 + 1 + half] = len(data)
        self._words[start // 8] = turns + 1
        return True

    def read(self, place: int) -> bytes:
        """What was last written there; nothing when nothing was."""
        start = place * self._stride
        for _ in range(_TRIES):
            turns = self._words[start // 8]
            half = turns & 1
            length = self._words[start // 8 + 1 + half]
            at = start + _HEAD + half * self._size
            data = self._map[at : at + min(max(0, length), self._size)]
            # The writer comes back to this half with its next turn but one, and begins after the next.
            if self._words[start // 8] == turns:
                return data
        return b""
