"""What a site may choose about caching, and the sets of numbers and names that the standards fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Heuristically cacheable (RFC 9110, 15.1), without 206."""

UNDERSTOOD_STATUSES: Final = HEURISTIC_STATUSES | {
    *(302, 303, 307),
    *(400, 401, 402, 403, 406, 408, 409, 411, 413, 415, 417, 421, 422, 426),
    *(500, 502, 503, 504, 505),
}
"""Those whose definition asks nothing of caches that is not done here: for `must-understand` (RFC 9111, 5.2.2.3)."""

ERROR_STATUSES: Final = frozenset({500, 502, 503, 504})
"""Answers that a stale response may replace (RFC 5861, 4)."""

HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authentication-info", "proxy-authorization"),
    }
)
"""Of one connection, so never stored (RFC 9111, 3.1)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The site's choices. The defaults store only what a response explicitly offers to share."""

    targets: tuple[str, ...] = ("wsgiperf-cache-control",)
    """Targeted fields in lower case that go before Cache-Control, the first first (RFC 9213, 2.2)."""
    request_directives: bool = False
    """Whether clients may ask for fresher responses by Cache-Control and Pragma (RFC 9111, 5.2.1): each such request
    costs a render."""
    heuristic: bool = False
    """Whether a lifetime may be guessed from Last-Modified (RFC 9111, 4.2.2)."""
    heuristic_fraction: float = 0.1
    heuristic_max_s: float = 86400.0
    store_no_cache: bool = False
    """Whether `no-cache` responses with a validator are kept, to be asked about at each request (RFC 9111, 5.2.2.4)."""
    s_maxage_forbids_stale: bool = True
    """Whether `s-maxage` means `proxy-revalidate` (RFC 9111, 5.2.2.10). Without it, an explicit stale-while-revalidate
    or stale-if-error beside it counts, as content delivery networks have it."""
    swr_s: float = 0.0
    """The stale-while-revalidate of responses that name none and forbid none."""
    sie_s: float = 0.0
    """The stale-if-error of responses that name none and forbid none."""
    keep_s: float = 0.0
    """How long a response with a validator is kept past its lifetime, to ask whether it still holds."""
    max_lifetime_s: float = 31536000.0
    max_body_bytes: int = 2**20
    max_head_bytes: int = 16384
    max_nominated: int = 8
    """Request fields that one response may nominate in Vary."""
    max_tags: int = 1000
    """Of one response. One with more is not stored: it could not be purged by all of them."""
    private_cookies: frozenset[str] = frozenset({"sessionid"})
    """With one of these in the request, a response that varies by Cookie is somebody's own, and never stored."""
    bypass_cookies: frozenset[str] = frozenset({"messages"})
    """With one of these, nothing stored is used and nothing is stored."""
