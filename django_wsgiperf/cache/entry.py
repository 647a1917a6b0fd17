"""One stored response, and its envelope: what it looks like as bytes in Redis or another shared store.

Knows nothing of HTTP's rules (policy.py fills the fields), of keys, or of where entries are kept. The envelope is not
a pickle: whoever can write to the store can forge a page, but can run nothing here. A value that is damaged, foreign
or of another version is no entry, and that is all that can come of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from itertools import accumulate, chain, pairwise
from types import MappingProxyType
from typing import Any, Final

from xxhash import xxh3_64_intdigest

#: Bits of Entry.flags.
MUST_VALIDATE: Final = 1
"""Never served without asking the application: `no-cache`."""
NO_TRANSFORM: Final = 2
"""Never compressed or otherwise changed: `no-transform` (RFC 9111, 5.2.2.6)."""
OWN_ETAG: Final = 4
"""The ETag was made by this cache, from the body."""
HEURISTIC: Final = 8
"""The lifetime was guessed (RFC 9111, 4.2.2)."""
SHAREABLE: Final = 16
"""Explicitly for everybody, so that it may answer a request with Authorization (RFC 9111, 3.5)."""
NEVER_STALE: Final = 32
"""No client's `max-stale` gets it past its lifetime: `must-revalidate` and its like (RFC 9111, 4.2.4)."""

WITHOUT_BODY: Final = (204, 205)
MAX_ROUTE_CHARS: Final = 200

NO_CODINGS: Final[Mapping[str, bytes]] = MappingProxyType({})

MAGIC: Final = b"WPC\x04"
"""Begins every envelope; the last byte is the version, to be raised when the bytes mean something else, or what lies in
them does: the names of tags, for one. Not a digit, since Django's Redis serializers turn values that look like a number
into one."""

_FRAME: Final = struct.Struct("<4sQ")  # magic, checksum of all that follows
_FIXED: Final = struct.Struct("<HIdddddddQHHHHI")
_ABSENT: Final = 0xFFFFFFFF
"""Stands as a length for None among the values of `vary`."""

# Measured on CPython 3.11 to 3.13, 64 bits, and rounded up.
_STRING_BYTES: Final = 56
_PAIR_BYTES: Final = 64
TAG_BYTES: Final = _STRING_BYTES
LINE_BYTES: Final = _PAIR_BYTES + 2 * _STRING_BYTES
ENTRY_BYTES: Final = 760 + 2 * _STRING_BYTES
"""With the texts of the reason and the route, but for the characters."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored response with all that is needed to judge and send it. Times are unix seconds, spans are seconds."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """End-to-end fields in the application's order and spelling, without Age, Cache-Status and what policy removes."""
    body: bytes
    stored_at: float
    """When the response arrived: `response_time` of RFC 9111, 4.2.3."""
    initial_age_s: float = 0.0
    """Its age at that moment: `corrected_initial_age`."""
    lifetime_s: float = 0.0
    swr_s: float = 0.0
    """How long after its lifetime it may be served while a new one is made (RFC 5861, 3); 0 is not at all."""
    sie_s: float = 0.0
    """How long after its lifetime it may be served when the application fails (RFC 5861, 4); 0 is not at all."""
    keep_s: float = 0.0
    """How long after its lifetime it is kept, so that the application can be asked whether it still holds."""
    sequence: int = 0
    """The purge counter when the request that made it began; see tags.py."""
    tags: tuple[str, ...] = ()
    vary: tuple[tuple[str, str | None], ...] = ()
    """The nominated request fields, lower case, and their normalised values, or the digests of what may be secret; None
    where the request had none."""
    render_s: float = 0.0
    """What it took to make."""
    flags: int = 0
    codings: Mapping[str, bytes] = field(default_factory=lambda: NO_CODINGS)
    """Content coding -> the body in it. Without the identity, which is `body`."""
    route: str = ""
    """The template of the route that made it, so that hits are counted there too; at most MAX_ROUTE_CHARS."""

    @property
    def size(self) -> int:
        """About the bytes of memory it takes; what a store charges for it. Not free to compute: ask once."""
        tags = self.tags
        chars = len("".join((self.reason, self.route, *tags, *chain.from_iterable(self.headers))))
        size = ENTRY_BYTES + len(self.body) + chars + TAG_BYTES * len(tags) + LINE_BYTES * len(self.headers)
        if self.codings:
            size += sum(map(len, self.codings)) + sum(map(len, self.codings.values()))
            size += LINE_BYTES * len(self.codings)
        return size + bytes_of(self.vary) if self.vary else size

    def to_bytes(self) -> bytes:
        """The envelope. Raises ValueError where a number does not fit: a status above 65535, a 4 GiB header."""
        strings: list[str] = [self.reason, self.route]
        lengths: list[int] = [len(self.reason), len(self.route)]
        for pair in self.headers:
            strings += pair
        strings += self.tags
        strings += self.codings
        lengths += map(len, strings[2:])
        for name, value in self.vary:
            strings += (name, value or "")
            lengths += (len(name), _ABSENT if value is None else len(value))
        # The lengths count characters, so that the reader decodes once and slices.
        text = "".join(strings).encode("utf-8", "surrogatepass")
        bodies = [self.body, *self.codings.values()]
        try:
            fixed = _FIXED.pack(
                self.status,
                self.flags,
                self.stored_at,
                self.initial_age_s,
                self.lifetime_s,
                self.swr_s,
                self.sie_s,
                self.keep_s,
                self.render_s,
                self.sequence,
                len(self.headers),
                len(self.tags),
                len(self.codings),
                len(self.vary),
                len(text),
            )
            sizes = struct.pack(f"<{len(lengths)}I{len(bodies)}Q", *lengths, *map(len, bodies))
        except struct.error as error:
            raise ValueError(f"a response with status {self.status} cannot be put into an envelope: {error}") from None
        content = b"".join((fixed, sizes, text, *bodies))
        return _FRAME.pack(MAGIC, xxh3_64_intdigest(content)) + content

    @classmethod
    def from_bytes(cls, data: object) -> Entry | None:
        """The entry in an envelope; None for whatever is not an envelope that to_bytes() made, unharmed."""
        if not isinstance(data, bytes) or data[:4] != MAGIC:
            return None
        try:
            return cls._read(data)
        except (struct.error, UnicodeDecodeError, OverflowError):
            return None

    @classmethod
    def _read(cls, data: bytes) -> Entry | None:
        _, checksum = _FRAME.unpack_from(data)
        # Guards against accidents, as all it can: who forges a value forges its checksum.
        if xxh3_64_intdigest(memoryview(data)[_FRAME.size :]) != checksum:
            return None
        fixed = _FIXED.unpack_from(data, _FRAME.size)
        status, flags, stored_at, initial_age_s, lifetime_s, swr_s, sie_s, keep_s, render_s, sequence, *counts = fixed
        times = fixed[2:9]
        # What is not a number would make every comparison false, and so a page that is never too old.
        if not 0 <= min(times) <= max(times) < float("inf") or sum(times) != sum(times):
            return None
        headers, tags, codings, nominated, text_size = counts
        count = 2 + 2 * headers + tags + codings + 2 * nominated
        shape = struct.Struct(f"<{count}I{1 + codings}Q")
        at = _FRAME.size + _FIXED.size
        sizes = shape.unpack_from(data, at)
        at += shape.size
        lengths, body_sizes = sizes[:count], sizes[count:]
        if at + text_size + sum(body_sizes) != len(data):
            return None
        text = data[at : at + text_size].decode("utf-8", "surrogatepass")
        ends = list(accumulate((0 if length == _ABSENT else length for length in lengths), initial=0))
        if ends[-1] != len(text):
            return None
        strings = [text[start:end] for start, end in pairwise(ends)]
        bodies = [data[start:end] for start, end in pairwise(accumulate(body_sizes, initial=at + text_size))]
        tags_at = 2 + 2 * headers
        codings_at = tags_at + tags
        vary_at = codings_at + codings
        values = [
            None if length == _ABSENT else value
            for value, length in zip(strings[vary_at + 1 :: 2], lengths[vary_at + 1 :: 2], strict=True)
        ]
        return cls(
            status,
            strings[0],
            tuple(zip(strings[2:tags_at:2], strings[3:tags_at:2], strict=True)),
            bodies[0],
            stored_at,
            initial_age_s,
            lifetime_s,
            swr_s,
            sie_s,
            keep_s,
            sequence,
            tuple(strings[tags_at:codings_at]),
            tuple(zip(strings[vary_at::2], values, strict=True)),
            render_s,
            flags,
            MappingProxyType(dict(zip(strings[codings_at:vary_at], bodies[1:], strict=True)))
            if codings
            else NO_CODINGS,
            strings[1],
        )


def bytes_of(vary: tuple[tuple[str, str | None], ...]) -> int:
    """About the bytes of memory of nominated fields."""
    size = 0
    for name, value in vary:
        size += _PAIR_BYTES + _STRING_BYTES + len(name)
        size += 0 if value is None else _STRING_BYTES + len(value)
    return size


# To freeze an entry field by field takes three times as long as to make it first.
_Draft: Final[Any] = make_dataclass("_Draft", [(each.name, Any) for each in fields(Entry)], slots=True)


def entry_of(*values: Any) -> Entry:
    """The entry with these values, one for each field in order: sooner than by Entry() itself."""
    entry: Entry = _Draft(*values)
    entry.__class__ = Entry
    return entry
