"""A page that nobody has looked at since it was kept, as most pages never are: what there is of it, not made ready yet.

To keep a page costs twice: all that it is made of has to be let go again with it, long after the processor has lost
sight of it. So it is kept as the application gave it, less what pages like it have in common, and becomes an entry
where it lies when somebody first asks for it: an Unseen turns into the Held that it is a kind of.

Threads may do that at once. What they make is alike, and what may change after that is there from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from .addresses import tags_by
from .entry import NO_CODINGS, OWN_ETAG, Entry, entry_of
from .expiry import spread
from .headers import format_date
from .held import NO_REPRESENTATIONS, NOTHING, Held
from .policy.heads import Judgement, Pairs
from .sending import Sending

Nominated: TypeAlias = tuple[tuple[str, "str | None"], ...]
Raw: TypeAlias = tuple[
    Judgement,
    int,  # status
    str,  # its reason
    "int | Pairs",  # as Known.at, or what is kept of its head but for Date and the ETag made here
    bytes,
    "str | None",  # the ETag made here
    float,  # when it came, in unix seconds
    float,  # what it took to make, in seconds
    int,  # as Entry.sequence
    "tuple[str, str] | None",  # the tags of its address, where the key does not tell them
    tuple[str, ...],  # the others
    Nominated,  # as Entry.vary
    str,  # route
    float,  # the share of its lifetime that is spread
]
"""A plain tuple, since nothing is made faster."""

_LATER: Final = frozenset({"entry", "status", "calm_until"})
_CHANCES: Final = 2**32


class Unseen(Held):
    """A Held whose `entry`, `status` and `calm_until` are made when one of them is asked for."""

    __slots__ = ()

    def __init__(
        self,
        raw: Raw,
        key: bytes,
        primary: bytes,
        offered: tuple[str, ...],
        sending: Sending,
        grown: Callable[[Held], None],
    ) -> None:
        self._raw = raw
        self.key = key
        self.primary = primary
        self.hits = 0
        self.checked = raw[8]
        self.offered = offered
        self.refused_codings = self._busy = NOTHING
        self._sending = sending
        self._grown = grown
        self._identity = None
        self._encodings = NO_REPRESENTATIONS

    def __getattr__(self, name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raw: Raw | None = self._raw
        # Another thread may have been faster.
        if raw is not None:
            self._adopt(_entry(raw, self.key, self.primary))
            self.__class__ = Held  # type: ignore[assignment]
            self._raw = None
        return getattr(self, name)


def _entry(raw: Raw, key: bytes, primary: bytes) -> Entry:
    judgement, status, reason, own, body, etag, now, render_s, sequence, address_tags, tags, vary, route, jitter = raw
    decision = judgement.decision
    headers = judgement.whole(own, len(body)) if isinstance(own, int) else [*own]
    headers.append(("Date", format_date(now)))
    if etag is not None:
        headers.append(("ETag", etag))
    # Not rolled, since each thread has to come to the same.
    chance = hash((key, now)) % _CHANCES / _CHANCES
    return entry_of(
        status,
        reason,
        tuple(headers),
        body,
        now,
        0.0,
        spread(decision.lifetime_s, jitter, chance=lambda: chance),
        decision.swr_s,
        decision.sie_s,
        decision.keep_s,
        sequence,
        (*(address_tags or tags_by(primary)), *tags),
        vary,
        render_s,
        decision.flags if etag is None else decision.flags | OWN_ETAG,
        NO_CODINGS,
        route,
    )
