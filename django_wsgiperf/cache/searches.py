"""What the responses of a path have said of its query by No-Vary-Search, in this process, and the envelope of that.

Responses of one path may have different queries and still be one: whoever looks for one of them asks here first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from . import forking
from .headers import NoVarySearch, parse_no_vary_search
from .headers.structured import MATTERS
from .key import Keys
from .messages import Request
from .policy import Target

_MAX: Final = 2_048
_MAGIC: Final = b"WPN\x02"


class Searches:
    """Of at most 2,048 paths; the oldest goes when there are more. `_lock` guards writing."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._said: dict[bytes, tuple[str, str]] = {}
        """By address, whatever the query: the path, and the field."""
        self.count: Callable[[], int] = self._said.__len__
        forking.watch(self)

    def address(self, request: Request) -> bytes:
        """The key of the path, with whatever query."""
        return self._keys.address(request.scheme, request.host, request.path)

    def of(self, request: Request) -> NoVarySearch | None:
        """What was said of the path of the request; None where nothing was."""
        known = self._said.get(self.address(request)) if self._said else None
        return None if known is None else parse_no_vary_search(known[1])

    def of_target(self, target: Target) -> set[NoVarySearch]:
        """What was said of an address, or of its path on any host where it names none."""
        if target.host:
            found = self.of(Request("GET", target.scheme, target.host, target.path, target.query, {}))
            return set() if found is None else {found}
        with self._lock:
            said = list(self._said.values())
        return {parse_no_vary_search(value) for path, value in said if path == target.path}

    def remember(self, address: bytes, path: str, search: str) -> bool:
        """A response has said it. Whether it means anything."""
        if parse_no_vary_search(search) == MATTERS:
            return False
        if self._said.get(address) != (path, search):
            with self._lock:
                self._said.pop(address, None)
                self._make_room()
                self._said[address] = (path, search)
        return True

    def _make_room(self) -> None:
        """Lock held."""
        while len(self._said) >= _MAX:
            del self._said[next(iter(self._said))]

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()


def to_bytes(search: str) -> bytes:
    """The envelope of a field, for the shared store."""
    return _MAGIC + search.encode("latin-1", "replace")


def from_bytes(value: bytes | None) -> str | None:
    """The field in an envelope; None for whatever is none."""
    if value is None or not value.startswith(_MAGIC):
        return None
    return value[len(_MAGIC) :].decode("latin-1")
