"""An entry in the process's memory, with all that a hit sends ready-made: heads with their Age, once each second.

Shared by threads without a lock: whatever changes is replaced by one assignment, and two threads that make the same at
once make the same. Which representation a client gets is decided here, by its Accept-Encoding; whether it may have one
at all is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from . import compression
from .coded import encoded_etag, encoded_headers, is_worthwhile, varying_by_coding
from .entry import ENTRY_BYTES, LINE_BYTES, MUST_VALIDATE, NO_TRANSFORM, WITHOUT_BODY, Entry
from .headers import ANY_TAG, parse_etag, parse_etags, weak_match
from .normalise import choose_coding
from .policy import current_age
from .sending import HeaderList, Sending

NEVER: Final = -math.inf
_EARLY: Final = 37
"""Beyond so many times what a page takes to make, XFetch rolls no dice; see expiry.py."""

_HELD_BYTES: Final = 600
_PAIR_BYTES: Final = 24
_HEAD_BYTES: Final = 400
PAGE_BYTES: Final = _HELD_BYTES + _HEAD_BYTES + ENTRY_BYTES
"""What one in no coding takes beside its body, its characters, and these for each line of its head and each tag."""
PAGE_LINE_BYTES: Final = _PAIR_BYTES + LINE_BYTES


class Representation:
    """An entry in one content coding: its head but for Age and Cache-Status, and its body."""

    __slots__ = ("body", "headers", "ready", "written")

    def __init__(self, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        self.headers = headers
        self.body = body
        self.ready: tuple[int, HeaderList] = (-1, [])
        """The second that the list is of, and the whole head of a fresh hit in it. Nobody changes the list."""
        self.written: tuple[HeaderList, bytes] | None = None
        """Such a list, and it as the bytes that a server sends: theirs to keep here."""


NO_REPRESENTATIONS: Final[Mapping[str, Representation]] = {}
NOTHING: Final[frozenset[str]] = frozenset()


class Held:
    """An entry and what is ready of it. `key` is what it is found by in memory."""

    __slots__ = (
        "_busy",
        "_encodings",
        "_grown",
        "_identity",
        "_raw",
        "_sending",
        "calm_until",
        "checked",
        "entry",
        "hits",
        "key",
        "offered",
        "primary",
        "refused_codings",
        "status",
    )

    def __init__(
        self,
        entry: Entry,
        key: bytes,
        primary: bytes,
        sending: Sending,
        grown: Callable[[Held], None] | None = None,
    ) -> None:
        self.key = key
        self.primary = primary
        """Of its address: the key of the list of variants where it is one."""
        self.hits = 0
        self.checked: float = entry.sequence
        """No purge up to this number concerns it."""
        self._raw: Any = None
        """All there is of one that nobody has seen yet; see unseen.py."""
        self._sending = sending
        self._adopt(entry)
        self.offered = self._codings_offered(sending)
        self.refused_codings: frozenset[str] = NOTHING
        """Codings in which the body does not get smaller."""
        self._busy: frozenset[str] = NOTHING
        self._grown = grown
        """To be told when there is one more coding of it."""
        # Most pages are never asked for again: what is sent is made when it is.
        self._identity: Representation | None = None
        self._encodings = NO_REPRESENTATIONS
        if entry.codings:
            for coding, body in entry.codings.items():
                if coding in self.offered:
                    self._add(coding, body)

    def _codings_offered(self, sending: Sending) -> tuple[str, ...]:
        entry = self.entry
        if len(entry.body) < sending.min_bytes or entry.flags & NO_TRANSFORM or entry.status in WITHOUT_BODY:
            return ()
        return sending.codings if sending.codings and is_worthwhile(entry.headers) else ()

    def _adopt(self, entry: Entry) -> None:
        self.entry = entry
        self.status = f"{entry.status} {entry.reason}"
        expires_at = entry.stored_at + entry.lifetime_s - entry.initial_age_s
        early_s = _EARLY * entry.render_s * self._sending.early_refresh
        self.calm_until = NEVER if entry.flags & MUST_VALIDATE else expires_at - early_s
        """Until then it is fresh, and it is too early to make it anew."""

    @property
    def expires_at(self) -> float:
        """When it stops to be fresh, in unix seconds."""
        return self.entry.stored_at + self.entry.lifetime_s - self.entry.initial_age_s

    @property
    def is_shared(self) -> bool:
        """Whether it was everybody's when it was kept, without being asked about."""
        return self.calm_until != NEVER and self.entry.lifetime_s > self.entry.initial_age_s

    @property
    def codings(self) -> dict[str, int]:
        """Content coding -> bytes of the body in it, of those that were made."""
        return {name: len(each.body) for name, each in self._encodings.items()}

    @property
    def identity(self) -> Representation:
        """The one without a coding."""
        made = self._identity
        if made is None:
            headers = varying_by_coding(self.entry.headers) if self.offered else self.entry.headers
            made = self._identity = Representation(headers, self.entry.body)
        return made

    def representation(self, accepted: str | None) -> Representation:
        """The one for an Accept-Encoding. Who first asks for a coding makes it; others do not wait for that."""
        if not self.offered or not accepted:
            return self._identity or self.identity
        coding = choose_coding(accepted, self.offered)
        return self._encodings.get(coding) or self._in(coding)

    def at_hand(self, accepted: str | None) -> Representation | None:
        """As representation(), where nothing has to be made for it that takes long; else None."""
        if not self.offered or not accepted:
            return self._identity or self.identity
        coding = choose_coding(accepted, self.offered)
        made = self._encodings.get(coding)
        if made is None and (coding == "identity" or coding in self.refused_codings):
            made = self._identity or self.identity
        return made

    def known_to(self, tags: str) -> Representation | None:
        """The one that an If-None-Match names, so that a client that has one of them keeps it, though it would get
        another today: what was made for it was not compressed yet. None where it has none of them."""
        coding = self.coding_known_to(tags)
        return None if coding is None else self._in(coding)

    def coding_known_to(self, tags: str) -> str | None:
        """The coding of what known_to() gives."""
        wanted = parse_etags(tags)
        if not self.offered or wanted == ANY_TAG:
            return None
        own = next((parse_etag(value) for name, value in self.entry.headers if name.lower() == "etag"), None)
        if own is None:
            return None
        for coding in ("identity", *self.offered):
            tag = own if coding == "identity" else encoded_etag(own, coding)
            if any(weak_match(each, tag) for each in wanted):
                return coding
        return None

    def has(self, coding: str) -> bool:
        """Whether there is nothing to be compressed for it."""
        return coding == "identity" or coding in self._encodings or coding in self.refused_codings

    def _in(self, coding: str) -> Representation:
        if coding == "identity":
            return self._identity or self.identity
        return self._encodings.get(coding) or self._encoded(coding)

    def _encoded(self, coding: str) -> Representation:
        if coding in self.refused_codings or coding in self._busy:
            return self.identity
        self._busy |= {coding}
        body = compression.compress(coding, self.entry.body)
        if len(body) >= len(self.entry.body):
            self.refused_codings |= {coding}
            return self.identity
        made = self._add(coding, body)
        if self._grown is not None:
            self._grown(self)
        return made

    def _add(self, coding: str, body: bytes) -> Representation:
        made = Representation(encoded_headers(self.entry.headers, coding, len(body)), body)
        # Replaced whole: others may be reading it.
        self._encodings = {**self._encodings, coding: made}
        return made

    @property
    def size(self) -> int:
        """About the bytes of memory it takes, its entry included. Not free to compute."""
        heads = (_PAIR_BYTES * len(self.entry.headers) + _HEAD_BYTES) * (1 + len(self._encodings))
        size = self.entry.size + _HELD_BYTES + heads
        if self._encodings:
            size += sum(self.codings.values()) - sum(map(len, self.entry.codings.values()))
        return size

    def report(self, outcome: str = "hit") -> dict[str, str]:
        """What an access log may say of an answer from it."""
        return {"route": self.entry.route, "page_cache": outcome}

    def ready(self, representation: Representation, now: float) -> HeaderList:
        """The whole head of a fresh hit: a new list, which the server may change (PEP 3333)."""
        return self.head(representation, now).copy()

    def head(self, representation: Representation, now: float) -> HeaderList:
        """As ready(), but the one list of this second, which nobody may change."""
        second, headers = representation.ready
        if second != int(now):
            headers = [
                *representation.headers,
                ("Age", str(int(current_age(self.entry, now)))),
                *self._sending.status_of(self, now),
            ]
            representation.ready = (int(now), headers)
        return headers
