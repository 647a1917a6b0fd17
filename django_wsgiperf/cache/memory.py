"""The process's own memory of pages, bounded by bytes and by entries. No HTTP, no store, no clock here.

Whatever is asked for again stays, by SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024): entries stand in
line by age, a hit marks one, and a hand that walks from the oldest to the newest takes the first without a mark and
wipes the marks it passes. Nothing is moved on a hit, so a hit is a dict look-up and at most one store, without a lock.

`_lock` guards the line, the hand and the numbers; `_nodes` and the fields of a node are read without it. A thread may
be interrupted in any call or loop by an exception from outside: every change is made in a stretch without either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from . import forking

V = TypeVar("V")
Key = str | bytes

NODE_BYTES: Final = 280
"""What the cache itself takes for an entry: the node, its place in the dict, the key without its characters. Measured
on CPython 3.11 to 3.13, 64 bits, while the dict is as empty as it gets, and rounded up."""


class _Node(Generic[V]):
    """A place in the line. `older` and `newer` lead to the neighbours, and at either end to the ring's own node."""

    __slots__ = ("charge", "key", "newer", "older", "value", "visited")

    key: Key
    value: V
    charge: int
    older: _Node[V]
    newer: _Node[V]
    visited: bool


@dataclass(frozen=True, slots=True)
class MemoryNumbers:
    """What a MemoryCache holds, and what it has done since it was made."""

    entries: int
    bytes: int
    max_entries: int
    max_bytes: int
    insertions: int
    evictions: int
    refusals: int
    """Values not taken because they were larger than `max_value_bytes`."""


class MemoryCache(Generic[V]):
    """At most `max_entries` values of `max_bytes` in all, by the sizes given, the keys and what it takes itself.

    A value larger than `max_value_bytes` (an eighth of all unless given) is refused, so that one cannot drive out
    everything else. Raises ValueError for a bound below 1."""

    def __init__(self, max_bytes: int, max_entries: int, *, max_value_bytes: int | None = None) -> None:
        if max_bytes < 1 or max_entries < 1:
            raise ValueError(f"a cache of {max_bytes} bytes and {max_entries} entries holds nothing: both must be > 0")
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.max_value_bytes = min(max_bytes, max_bytes // 8 if max_value_bytes is None else max_value_bytes)
        self._lock = threading.Lock()
        self._nodes: dict[Key, _Node[V]] = {}
        self.has: Callable[[Key], bool] = self._nodes.__contains__
        """Whether there is anything; does not count as use."""
        # Not an entry: its `newer` is the oldest one, its `older` the newest.
        self._ring: _Node[V] = _Node()
        self._ring.older = self._ring.newer = self._ring
        self._ring.visited = False
        self._hand: _Node[V] = self._ring
        self._bytes = 0
        self._insertions = 0
        self._evictions = 0
        self._refusals = 0
        forking.watch(self)

    def get(self, key: Key) -> V | None:
        """The value, or None. Takes no lock."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if not node.visited:
            node.visited = True
        return node.value

    def peek(self, key: Key) -> V | None:
        """As get(), without counting as use."""
        node = self._nodes.get(key)
        return None if node is None else node.value

    def put(self, key: Key, value: V, size: int) -> bool:
        """Keep the value, whose size is `size` bytes, instead of what the key had. False when it is too large; then
        the key has nothing."""
        charge = size + len(key) + NODE_BYTES
        # Without a method of its own, which would be one more call.
        node: _Node[V] = _Node()
        node.key = key
        node.value = value
        node.charge = charge
        node.visited = False
        nodes = self._nodes
        with self._lock:
            if size > self.max_value_bytes or charge > self.max_bytes:
                old = nodes.get(key)
                if old is not None:
                    self._remove(old)
                self._refusals += 1
                return False
            if key in nodes:
                self._grow(key, charge)
                # It may be the one that had to go.
                old = nodes.get(key)
                if old is not None:
                    # In one step, so that nobody who looks meanwhile finds nothing.
                    old.value = value
                    old.visited = True
                    self._bytes += charge - old.charge
                    old.charge = charge
                    self._insertions += 1
                    return True
            # Not with a condition of its own, for which Python 3.12 would forget the lock.
            while True:
                if self._bytes + charge <= self.max_bytes and len(nodes) < self.max_entries:
                    break
                self._evict()
            ring = self._ring
            newest = ring.older
            node.older = newest
            node.newer = ring
            newest.newer = node
            ring.older = node
            nodes[key] = node
            self._bytes += charge
            self._insertions += 1
            return True

    def _grow(self, key: Key, charge: int) -> None:
        """Make room for what the key has to be of this charge. Lock held."""
        while (old := self._nodes.get(key)) is not None and self._bytes + charge - old.charge > self.max_bytes:
            self._evict()

    def discard(self, key: Key, value: V | None = None) -> bool:
        """Forget the key; when `value` is given, only while it is this very object. Whether it was there."""
        with self._lock:
            node = self._nodes.get(key)
            if node is None or (value is not None and node.value is not value):
                return False
            self._remove(node)
            return True

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for node in list(self._nodes.values()):
                self._remove(node)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: Key) -> bool:
        return key in self._nodes

    def __iter__(self) -> Iterator[tuple[Key, V, int]]:
        """Key, value and charged bytes of all there is at this moment, oldest first."""
        with self._lock:
            nodes = self._line()
        for node in nodes:
            yield node.key, node.value, node.charge

    def after_fork_in_child(self) -> None:
        """What is kept is the child's as well: no thread is ever caught in the middle of a change, as said above."""
        self._lock = threading.Lock()

    def numbers(self) -> MemoryNumbers:
        """For people and metrics."""
        with self._lock:
            return MemoryNumbers(
                len(self._nodes),
                self._bytes,
                self.max_entries,
                self.max_bytes,
                self._insertions,
                self._evictions,
                self._refusals,
            )

    def _line(self) -> list[_Node[V]]:
        """All nodes, the oldest first. Lock held."""
        nodes = []
        node = self._ring.newer
        while node is not self._ring:
            nodes.append(node)
            node = node.newer
        return nodes

    def _evict(self) -> None:
        """Let the hand take one of the entries. Lock held."""
        ring, node = self._ring, self._hand
        # Mostly it is at the next already.
        if node is ring or node.visited:
            # Others may mark entries as fast as the hand wipes them; once round, and it takes what it has come to.
            for _ in range(len(self._nodes) + 2):
                if node is not ring:
                    if not node.visited:
                        break
                    node.visited = False
                node = node.newer
            if node is ring:
                node = node.newer
        # As _remove(), without one more call.
        older, newer = node.older, node.newer
        self._hand = newer
        older.newer = newer
        newer.older = older
        self._bytes -= node.charge
        del self._nodes[node.key]
        self._evictions += 1

    def _remove(self, node: _Node[V]) -> None:
        """Take an entry out of the line. Lock held; no call and no loop, as said above."""
        if self._hand is node:
            self._hand = node.newer
        older, newer = node.older, node.newer
        older.newer = newer
        newer.older = older
        self._bytes -= node.charge
        del self._nodes[node.key]
