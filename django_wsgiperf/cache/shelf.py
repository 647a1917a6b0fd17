"""Where entries are found and put: the process's memory, and the shared store behind it. No HTTP rules, no waiting.

Under the primary key of an address lies its entry, or, when its responses vary, the list of what they vary by
(variants.py); the variants lie under keys of their own. What the No-Vary-Search of an address says is in searches.py.
Methods that ask the store are named for it, and may take as long as its time-out; all others only look into memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from . import forking, searches
from .entry import Entry
from .headers import parse_no_vary_search
from .held import Held
from .key import Keys
from .lease import Lease, Wish
from .memory import MemoryCache
from .messages import Request
from .searches import Searches
from .sending import Sending
from .store import GuardedStore
from .tags import Tags, Verdict
from .unseen import Nominated, Raw, Unseen
from .variants import Variants


class Shelf:
    """The entries of a site. `_lock` guards the lists of variants against other writers."""

    def __init__(
        self,
        memory: MemoryCache[Held | Variants],
        tags: Tags,
        keys: Keys,
        sending: Sending,
        *,
        store: GuardedStore | None = None,
        max_variants: int = 64,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory
        self.store = store
        self._tags = tags
        self._keys = keys
        self._sending = sending
        self._max_variants = max_variants
        self._now = now
        # One object for all of them.
        self._grown = self.recharge
        self._lock = threading.Lock()
        self.searches = Searches(keys)
        forking.watch(self)

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    # -- finding in memory

    def find(self, primary: bytes, environ: Mapping[str, Any]) -> Held | None:
        """The entry in memory that matches the request in an environ."""
        found = self.memory.get(primary)
        if not isinstance(found, Variants):
            return found
        latest = None
        for names in found.specs:
            held = self.memory.get(self._keys.variant(primary, self._keys.values(names, environ)))
            if isinstance(held, Held) and (latest is None or held.entry.stored_at > latest.entry.stored_at):
                latest = held
        return latest

    def find_for(self, primary: bytes, request: Request) -> Held | None:
        """As find(), for a request that is no environ."""
        found = self.memory.get(primary)
        if not isinstance(found, Variants):
            return found
        candidates = [self.memory.get(key) for key in self._variant_keys(found, primary, request)]
        return latest_of(held for held in candidates if isinstance(held, Held))

    def primary_of(self, request: Request) -> bytes:
        """The key of the request's address, after what is known of the No-Vary-Search of its path."""
        primary = self._keys.of_request(request)
        if self.searches.count() and primary not in self.memory:
            search = self.searches.of(request)
            if search is not None:
                return self._keys.searched(request, search)
        return primary

    def vary_key(self, primary: bytes, request: Request) -> bytes:
        """The key under which requests that would share an answer meet, as far as is known."""
        found = self.memory.peek(primary)
        if isinstance(found, Variants):
            return self._keys.variant(primary, self._keys.values_of(found.specs[0], request))
        return primary

    def vary_key_in(self, primary: bytes, environ: Mapping[str, Any]) -> bytes:
        """As vary_key(), for the request in an environ."""
        found = self.memory.peek(primary)
        if isinstance(found, Variants):
            return self._keys.variant(primary, self._keys.values(found.specs[0], environ))
        return primary

    def varies(self, primary: bytes) -> bool:
        """Whether there are variants, though perhaps not the right one."""
        return isinstance(self.memory.peek(primary), Variants)

    def _variant_keys(self, variants: Variants, primary: bytes, request: Request) -> list[bytes]:
        return [self._keys.variant(primary, self._keys.values_of(names, request)) for names in variants.specs]

    def address(self, request: Request) -> bytes:
        """The key of the path, with whatever query."""
        return self.searches.address(request)

    # -- finding in the store

    def fetch(self, request: Request, wish: Wish | None = None) -> Held | None:
        """What the shared store has for the request; puts it into memory. None also where it is out of order. A lease
        that is wished for is asked for in the same round trip, before anything is looked for."""
        store = self.store
        if store is None:
            return None
        primary, address = self.primary_of(request), self.address(request)
        known = self.memory.peek(primary)
        guessed = self._variant_keys(known, primary, request) if isinstance(known, Variants) else []
        values = self._ask([b"s" + address, primary, *guessed], wish)
        if values is None:
            return None
        search = searches.from_bytes(values[0])
        if search is not None and self.searches.remember(address, request.path, search):
            searched = self._keys.searched(request, parse_no_vary_search(search))
            if searched != primary:
                primary, guessed = searched, []
                values = [values[0], *(self._ask([searched]) or [None])]
        return self._keep(request, primary, guessed, values[1:])

    def _keep(self, request: Request, primary: bytes, guessed: list[bytes], values: list[bytes | None]) -> Held | None:
        variants = Variants.from_bytes(values[0])
        if variants is None:
            entry = Entry.from_bytes(values[0])
            if entry is None or entry.vary:
                return None
            return self._hold(entry, primary, primary)
        with self._lock:
            current = self.memory.peek(primary)
            if isinstance(current, Variants):
                variants = current.merged(variants)
            self.memory.put(primary, variants, variants.size)
        wanted = self._variant_keys(variants, primary, request)
        found = dict(zip(guessed, values[1:], strict=True))
        missing = [key for key in wanted if key not in found]
        if missing:
            asked = self._ask(missing)
            found.update(zip(missing, asked or [], strict=bool(asked)))
        held = []
        for key, names in zip(wanted, variants.specs, strict=True):
            entry = Entry.from_bytes(found.get(key))
            # Matched by what it says itself: keys are digests, and a store can be written to by others.
            if entry is not None and entry.vary == self._keys.values_of(names, request):
                held.append(self._hold(entry, key, primary))
        return latest_of(each for each in held if each is not None)

    def _ask(self, keys: list[bytes], wish: Wish | None = None) -> list[bytes | None] | None:
        assert self.store is not None
        known, names = self._tags.sequence, [key.hex() for key in keys]
        if wish is None:
            answer = self.store.fetch(names, known)
            if answer is None:
                return None
            values, head = answer
        else:
            found = self.store.add_and_fetch(wish.key, wish.value, wish.ttl_s, names, known)
            if found is None:
                return None
            wish.was_added, values, head = found
        if any(values) and not self._tags.catch_up(head, known):
            return None
        return values

    def _hold(self, entry: Entry, key: bytes, primary: bytes) -> Held | None:
        """Put what the store had into memory, unless it is purged or older than what is there."""
        if self._tags.judge(entry) is Verdict.GONE:
            return None
        now = self._now()
        if entry.stored_at > now:
            # By the clock of another host, which is ahead: it would not grow older here until ours gets there.
            entry = replace(entry, stored_at=now)
        held = Held(entry, key, primary, self._sending, self._grown)
        current = self.memory.peek(key)
        is_newer = isinstance(current, Held) and current.entry.stored_at >= entry.stored_at
        if isinstance(current, Held) and is_newer and self._tags.judge(current.entry) is Verdict.VALID:
            return current
        self.memory.put(key, held, held.size)
        return held

    # -- putting

    def put(self, entry: Entry, request: Request, search: str | None = None) -> Held:
        """Keep the entry in memory, as what answers this request and its like from now on."""
        primary = self._keys.of_request(request)
        if search is not None:
            self.searches.remember(self.address(request), request.path, search)
            primary = self._keys.searched(request, parse_no_vary_search(search))
        return self.place(entry, primary)

    def place(self, entry: Entry, primary: bytes) -> Held:
        """Keep the entry in memory, for the address of this key."""
        key = self._keys.variant(primary, entry.vary)
        held = Held(entry, key, primary, self._sending, self._grown)
        with self._lock:
            self._make_way(key, primary, entry.vary)
            self.memory.put(key, held, held.size)
        return held

    def place_unseen(self, raw: Raw, primary: bytes, vary: Nominated, offered: tuple[str, ...], size: int) -> Held:
        """As place(), for what is made an entry when it is asked for."""
        key = self._keys.variant(primary, vary) if vary else primary
        held = Unseen(raw, key, primary, offered, self._sending, self._grown)
        memory = self.memory
        has = memory.has
        if vary or has(primary):
            with self._lock:
                self._make_way(key, primary, vary)
                memory.put(key, held, size)
        else:
            # It matches every request. If a list of variants comes in between, it takes the place of that; the variants
            # are found no more, unless there is such a list again, and go in time.
            memory.put(key, held, size)
        return held

    def _make_way(self, key: bytes, primary: bytes, vary: Nominated) -> None:
        """See to the list of variants, and to those that are too many. Lock held."""
        current = self.memory.peek(primary)
        if vary:
            names = tuple(name for name, _ in vary)
            variants = current if isinstance(current, Variants) else Variants()
            variants, surplus = variants.with_variant(names, key, self._max_variants)
            self.memory.put(primary, variants, variants.size)
        else:
            # It matches every request, and is the latest.
            surplus = list(current.keys) if isinstance(current, Variants) else []
        for each in surplus:
            self.memory.discard(each)

    def store_entry(self, held: Held, request: Request, search: str | None = None, lease: Lease | None = None) -> None:
        """Keep the entry in the shared store too, and give back the lease that it was made with, in one round trip. A
        lease may still be to be released after that."""
        store, entry = self.store, held.entry
        if store is None:
            return
        ttl_s = entry.lifetime_s - entry.initial_age_s + max(entry.swr_s, entry.sie_s, entry.keep_s)
        if ttl_s <= 0:
            return
        try:
            envelope = entry.to_bytes()
        except ValueError:
            return
        values = [(held.key.hex(), envelope, ttl_s)]
        if entry.vary:
            variants = self.memory.peek(held.primary)
            if isinstance(variants, Variants) and variants.needs_storing(entry.stored_at + ttl_s):
                values.insert(0, (held.primary.hex(), variants.to_bytes(), ttl_s * 1.1))
                variants.stored_until = entry.stored_at + ttl_s * 1.1
        if search is not None:
            values.insert(0, ((b"s" + self.address(request)).hex(), searches.to_bytes(search), ttl_s))
        if store.set_and_delete_if(values, *(lease.claim() if lease is not None else ("", b""))) and lease is not None:
            lease.released()

    def recharge(self, held: Held) -> None:
        """It has grown by a content coding."""
        if self.memory.peek(held.key) is held:
            self.memory.put(held.key, held, held.size)

    def discard(self, held: Held) -> None:
        """Forget the entry in memory."""
        self.memory.discard(held.key, held)

    def drop(self, held: Held) -> None:
        """Forget the entry everywhere; the store is asked to."""
        self.discard(held)
        if self.store is not None:
            self.store.delete([held.key.hex()])

    def has_any(self, primaries: Iterable[bytes], leases: Iterable[str]) -> bool:
        """Whether anything may be stored under these keys, or is being made for them. Asks the store."""
        wanted = list(primaries)
        if any(key in self.memory for key in wanted):
            return True
        if self.store is None:
            return False
        answer = self.store.fetch([*(key.hex() for key in wanted), *leases], self._tags.sequence)
        return answer is None or any(answer[0])


def latest_of(found: Iterable[Held]) -> Held | None:
    """Of several that match, the most recent is used (RFC 9111, 4)."""
    return max(found, key=lambda held: held.entry.stored_at, default=None)
