"""From what the user names (a sitemap's address, a file, `-`) to the pages to ask for, each once and within a limit.

Reads files and fetches sitemaps, those of an index too. What is left out is counted by its reason, not passed over.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .address import AddressError, Page, Place, parse_page
from .client import Client, FetchError
from .sitemap import MAX_BYTES, Listing, SitemapError, read

STDIN: Final = "-"
MAX_SITEMAPS: Final = 1_000
"""Of all indexes together."""
_MAX_INDEX_DEPTH: Final = 2
MAX_EXAMPLES: Final = 5


class SourceError(Exception):
    """A source cannot be read; the text names it and says why."""


@dataclass(slots=True)
class Found:
    """The pages, in the order in which they were listed, and what was left out."""

    pages: list[Page] = field(default_factory=list)
    sitemaps: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """By reason, addresses that are not asked for."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """By reason, some of them."""
    is_cut: bool = False
    """There are more pages: the limit is reached, or a sitemap had more than it may have."""
    is_full: bool = False
    """The limit is reached."""

    def leave_out(self, reason: str, what: str) -> None:
        self.left_out[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < MAX_EXAMPLES:
            shown.append(what)


NOT_ASKED: Final = "not http or https addresses"
NO_HOST: Final = "paths without a host"
OTHER_SITE: Final = "of another site than the sitemap"
TOO_MANY: Final = "sitemaps beyond the limit"
UNREADABLE: Final = "sitemaps that could not be read"


def collect(sources: Iterable[str], *, base: Place | None, base_page: Page | None, limit: int, client: Client) -> Found:
    """The pages that the sources list. Raises SourceError.

    With `base`, everything is asked there, and a path alone is a page of `base_page`. Without, pages of a fetched
    sitemap must be of its own site, as the protocol has it: nobody else's sitemap sends requests to third parties."""
    found = Found()
    seen: set[Page] = set()
    known: set[Page] = set()
    for source in sources:
        waiting: deque[tuple[str, int]] = deque([(source, 0)])
        while waiting and not found.is_full:
            name, depth = waiting.popleft()
            try:
                listing, origin = _read(name, base_page, client)
            except SourceError as error:
                if not depth:
                    raise
                found.leave_out(UNREADABLE, str(error))
                continue
            found.is_cut |= listing.is_cut
            found.sitemaps += origin is not None
            for text in listing.sitemaps:
                below = _accepted(text, origin, base, base_page, found)
                if below is None or below in known:
                    continue
                if depth >= _MAX_INDEX_DEPTH or len(known) >= MAX_SITEMAPS:
                    found.leave_out(TOO_MANY, text)
                else:
                    known.add(below)
                    waiting.append((below.url, depth + 1))
            _take(listing, origin, base, base_page, limit, seen, found)
    return found


def _take(
    listing: Listing,
    origin: Page | None,
    base: Place | None,
    base_page: Page | None,
    limit: int,
    seen: set[Page],
    found: Found,
) -> None:
    for text in listing.pages:
        page = _accepted(text, origin, base, base_page, found)
        if page is None or page in seen:
            continue
        if len(found.pages) >= limit:
            found.is_cut = found.is_full = True
            return
        seen.add(page)
        found.pages.append(page)


def _accepted(text: str, origin: Page | None, base: Place | None, base_page: Page | None, found: Found) -> Page | None:
    if base_page is None and text.startswith("/") and not text.startswith("//"):
        found.leave_out(NO_HOST, text)
        return None
    try:
        page = parse_page(text, base_page)
    except AddressError as error:
        found.leave_out(NOT_ASKED, str(error))
        return None
    if base is None and origin is not None and page.origin != origin.origin:
        found.leave_out(OTHER_SITE, page.url)
        return None
    return page


def _read(name: str, base_page: Page | None, client: Client) -> tuple[Listing, Page | None]:
    """What a source lists, and the page that it is where it was fetched."""
    page = None
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        elif "://" in name:
            page = parse_page(name, base_page)
            data = _fetch(page, client)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        return read(data), page
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}") from None
    except (AddressError, FetchError, SitemapError) as error:
        raise SourceError(f"{'standard input' if name == STDIN else name}: {error}") from None


def _fetch(page: Page, client: Client) -> bytes:
    answer = client.get(page, {"Accept": "application/xml,text/xml,*/*;q=0.5"}, keep_body=True)
    if 300 <= answer.status < 400 and "location" in answer.fields:
        raise FetchError(f"it is elsewhere: {answer.fields['location'][:200]!r} ({answer.status}); name that address")
    if answer.status != 200:
        raise FetchError(f"answered {answer.status} {answer.reason}".strip())
    return answer.body
