"""The response cache of one process: its parts put together, the fast path of hits, and what visits ask of it.

Made from settings by runtime.py, used by the doors (wsgi.py, middleware.py). A request that is plain and finds a fresh
page in memory is answered by recall() alone, without a lock; one that finds nothing goes the way of plain.py, and all
others take a Visit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from django_wsgiperf.conf import CacheSettings

from . import compression, forking, inspection
from .addresses import tags_for
from .coded import is_worthwhile
from .counting import Counters
from .effects import Landing
from .flight import Flights
from .held import Held
from .hit_for_miss import Marks
from .key import SPECIAL
from .lease import Leases
from .memory import MemoryCache
from .messages import Request, Response
from .policy import invalidated_by
from .policy.heads import Heads
from .policy.lookup import goes_past
from .refresh import Refresher
from .sending import Sending
from .shelf import Shelf
from .site import Site
from .store import GuardedStore, Store
from .tags import Tags, Verdict
from .variants import Variants

_ELSEWHERE_WAITERS: Final = 32
"""Where the server does not say how many threads it has."""
_BRIEF_S: Final = 0.25
"""What a thread may wait that the pool cannot spare."""
_WISHES: Final = frozenset({"HTTP_CACHE_CONTROL", "HTTP_PRAGMA"})


class Door(Protocol):
    """What can have a page made."""

    def make_anew(self, held: Held, request: Request) -> bool | None:
        """Make the page of a stored response anew, in this thread; as refresh.Job."""


class Engine:
    """One process's cache. `store` is what it shares with others, if anything.

    `_starting` is held while the listener is started, which happens once in each process."""

    def __init__(
        self,
        values: CacheSettings,
        site: Site,
        store: Store | None = None,
        *,
        waiters: Callable[[Mapping[str, Any]], int | None] = lambda environ: None,
        on_start: Callable[[], None] = lambda: None,
        on_thread_end: Callable[[], None] = lambda: None,
        step_aside: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.values = values
        self.site = site
        self.now = now
        self.monotonic = monotonic
        self.store = None if store is None else GuardedStore(store, clock=monotonic)
        self.tags = Tags(self.store, max_tags=values.max_tags, max_stale_s=values.max_stale_s)
        self.sending = Sending(
            codings=tuple(name for name in values.compress if name in compression.available()),
            min_bytes=values.compress_min_bytes,
            cache_status=values.cache_status,
            early_refresh=values.early_refresh,
        )
        memory: MemoryCache[Held | Variants] = MemoryCache(values.memory_bytes, values.memory_entries)
        self.memory = memory
        self.shelf = Shelf(
            memory,
            self.tags,
            site.keys,
            self.sending,
            store=self.store,
            max_variants=values.max_variants,
            now=lambda: self.now(),
        )
        self.heads = Heads(site.rules, is_worthwhile)
        self.hit_for_miss_s = values.hit_for_miss_s
        self.hit_for_miss = Marks(clock=monotonic)
        self.known_shared = Marks(clock=monotonic)
        self.flights: Flights[Landing] = Flights(
            max_waiters=values.max_waiters or _ELSEWHERE_WAITERS,
            wait_s=values.wait_s,
            brief_s=_BRIEF_S,
            hit_for_miss=self.hit_for_miss,
            step_aside=step_aside,
            clock=monotonic,
        )
        self.leases = None if self.store is None else Leases(self.store, ttl_s=values.lease_s, clock=monotonic)
        self.counters = Counters()
        self.background = Counters()
        """Of the cache's own requests, which are no clients'."""
        self.refresher = Refresher(
            max_threads=values.refresh_threads,
            max_jobs=values.refresh_queue,
            counters=self.counters,
            on_thread_end=on_thread_end,
        )
        self.making: dict[object, bytes] = {}
        """Addresses of pages that are being made and may be kept, by who makes them. Each line writes its own key."""
        self.jitter = values.jitter
        self.makes_etags = values.etag
        self._special = SPECIAL - {"HTTP_COOKIE"} if values.request_directives else SPECIAL - {"HTTP_COOKIE"} - _WISHES
        self._is_plain = self._special.isdisjoint
        self._bypass_cookies = site.rules.bypass_cookies
        self._waiters = waiters
        """Of the server, once it is known; asked in the process that serves."""
        self._on_start = on_start
        self.is_started = False
        """Whether start() has nothing to do."""
        self._starting = threading.Lock()
        forking.watch(self)

    # -- life

    def start(self, environ: Mapping[str, Any]) -> None:
        """Begin to keep up with purges, in this process, at its first request. Cheap when that is done."""
        if self.is_started:
            return
        with self._starting:
            if not self.is_started:
                self.tags.start()
                waiters = self._waiters(environ)
                if waiters is not None and not self.values.max_waiters:
                    self.flights.bound(waiters)
                self._on_start()
                self.is_started = True

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the threads, and give back the store's connections."""
        self.refresher.stop(timeout_s)
        self.tags.stop(timeout_s)
        if self.store is not None:
            self.store.close()

    def after_fork_in_child(self) -> None:
        self._starting = threading.Lock()
        self.is_started = False

    # -- the fast path

    def plain(self, environ: Mapping[str, Any]) -> bytes | None:
        """The key of a plain request's address; None wherever anything else about it has to be thought about."""
        # What an attribute holds is called faster by a name of its own: Python would look for a method first.
        is_plain = self._is_plain
        if (
            environ["REQUEST_METHOD"] != "GET"
            or not is_plain(environ)
            or environ.get("CONTENT_LENGTH", "") not in ("", "0")
        ):
            return None
        cookies = environ.get("HTTP_COOKIE")
        if cookies and goes_past(cookies, self._bypass_cookies):
            return None
        if not self.is_started:
            self.start(environ)
        site = self.site
        if not site.is_simple or "HTTP_HOST" not in environ:
            return self.primary(environ)
        # What that comes to mostly, without the call.
        path = environ.get("SCRIPT_NAME", "") + (environ.get("PATH_INFO", "") or "/")
        address = (environ["wsgi.url_scheme"], environ["HTTP_HOST"], path, environ.get("QUERY_STRING", ""), "")
        remembered = site.remembered
        return remembered(address) or site.known(address)

    def fresh(self, primary: bytes, environ: Mapping[str, Any]) -> Held | None:
        """The page in memory that answers a plain request at once."""
        held = self.memory.get(primary)
        if isinstance(held, Variants):
            held = self.shelf.find(primary, environ)
        if held is None or self.now() >= held.calm_until:
            return None
        newest = self.tags.newest
        if held.checked < newest:
            if self.tags.judge(held.entry) is not Verdict.VALID:
                return None
            if newest != float("inf"):
                held.checked = newest
        return held

    def recall(self, environ: Mapping[str, Any]) -> Held | None:
        """Both of it."""
        primary = self.plain(environ)
        return None if primary is None else self.fresh(primary, environ)

    def primary(self, environ: Mapping[str, Any]) -> bytes | None:
        """The key of the request's address; None where Django would refuse the host."""
        site = self.site
        if site.is_direct and "HTTP_HOST" in environ:
            scheme, host, script = environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ.get("SCRIPT_NAME", "")
        else:
            scheme = site.scheme(environ)
            host, script = site.host(environ, scheme), site.script(environ)
        info = environ.get("PATH_INFO", "") or "/"
        language = "" if site.language is None else site.keys.language_in(environ, info)
        address = (scheme, host, script + info, environ.get("QUERY_STRING", ""), language)
        return site.remembered(address) or site.known(address)

    # -- what visits ask

    def refresh(self, held: Held, request: Request, door: Door) -> None:
        """Have the page made anew in the background."""
        self.refresher.submit(held.key, lambda: door.make_anew(held, request))

    def invalidation(self, request: Request, response: Response) -> Callable[[], None] | None:
        """What makes invalid what an unsafe request has changed (RFC 9111, 4.4); None where there is nothing to do."""
        found = invalidated_by(request, response)
        if not found.targets and not found.groups:
            return None
        keys = self.site.keys

        def invalidate() -> None:
            tags = list(found.groups)
            for target in found.targets:
                searches = self.shelf.searches.of_target(target)
                asked = Request("GET", target.scheme, target.host, target.path, target.query, {})
                primaries = [
                    keys.primary(target.scheme, target.host, target.path, target.query, language)
                    for language in self.site.languages or ("",)
                ]
                primaries += [keys.searched(asked, search) for search in searches]
                made = list(self.making.values())
                leases = [f"lease:{key.hex()}" for key in primaries]
                if any(key in made for key in primaries) or self.shelf.has_any(primaries, leases):
                    tags += tags_for(keys, target, searches)
            if tags:
                self.counters.invalidations += len(tags)
                self.tags.purge(tags)

        return invalidate

    # -- telling

    def numbers(self) -> dict[str, Any]:
        """Counters since the process began, and what there is at this moment."""
        return inspection.numbers(self)

    def largest(self, count: int = 10) -> list[dict[str, Any]]:
        """The pages that take most memory, the largest first."""
        return inspection.largest(self, count)

    def explain(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the cache would do with a GET of this address, and why. Raises ValueError for what is no URL."""
        return inspection.explain(self, url, headers)
