"""How a site has its stored responses sent, and what Cache-Status (RFC 9211) says of each answer.

Nothing here decides anything. Those of its answers that are alike are made once, and shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .headers import cache_status
from .policy import Forward, time_to_live

if TYPE_CHECKING:
    from .held import Held

NAME: Final = "wsgiperf"
"""By which this cache calls itself in Cache-Status."""
HeaderList = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sending:
    """How entries are sent: the site's choice."""

    codings: tuple[str, ...] = ()
    """Offered, preferred first."""
    min_bytes: int = 1_024
    cache_status: str = "brief"
    early_refresh: float = 1.0

    def status_of(self, held: Held, now: float, detail: str | None = None) -> HeaderList:
        """The Cache-Status of a hit, as a list that is empty where none is sent."""
        if self.cache_status == "off":
            return []
        if self.cache_status == "brief":
            return [("Cache-Status", cache_status(NAME, hit=True, detail=detail))]
        ttl = time_to_live(held.entry, now)
        return [("Cache-Status", cache_status(NAME, hit=True, ttl=ttl, key=held.key.hex(), detail=detail))]

    def status_of_miss(self, detail: str, forward: Forward = Forward.URI_MISS) -> HeaderList:
        """As status_of_forwarded(), of an answer that was not stored. Not to be changed."""
        return [] if self.cache_status == "off" else _missed(forward, detail)

    def status_of_stored(self, held: Held, forward: Forward, now: Callable[[], float]) -> HeaderList:
        """As status_of_forwarded(), of an answer that was stored. Not to be changed."""
        if self.cache_status == "brief":
            return _stored(forward)
        return self.status_of_forwarded(forward, None, stored=held, now=now())

    def status_of_forwarded(
        self,
        forward: Forward,
        detail: str | None,
        *,
        status: int | None = None,
        stored: Held | None = None,
        collapsed: bool = False,
        now: float = 0.0,
    ) -> HeaderList:
        """The Cache-Status of an answer that the application gave now, to this request or to another."""
        if self.cache_status == "off":
            return []
        if self.cache_status == "brief" or stored is None:
            return [("Cache-Status", _brief(forward, detail, status, stored is not None, collapsed))]
        text = cache_status(
            NAME,
            fwd=forward,
            fwd_status=status,
            ttl=time_to_live(stored.entry, now),
            stored=True,
            collapsed=collapsed,
            key=stored.key.hex(),
            detail=detail,
        )
        return [("Cache-Status", text)]


@lru_cache(512)
def _brief(forward: Forward, detail: str | None, status: int | None, stored: bool, collapsed: bool) -> str:
    """Few differ: reasons, and statuses of applications."""
    return cache_status(NAME, fwd=forward, fwd_status=status, stored=stored, collapsed=collapsed, detail=detail)


@lru_cache(512)
def _missed(forward: Forward, detail: str) -> HeaderList:
    return [("Cache-Status", _brief(forward, detail, None, False, False))]


@lru_cache(64)
def _stored(forward: Forward) -> HeaderList:
    return [("Cache-Status", _brief(forward, None, None, True, False))]
