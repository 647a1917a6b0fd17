"""What the responses of one address vary by: sets of nominated request fields, and which variants this process knows.

Several sets, since responses of one address may name different fields. Plain data and its envelope; shelf.py keeps it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

MAGIC: Final = b"WPV\x02"
MAX_SPECS: Final = 4
_MAX_NAMES: Final = 16
_SPEC_BYTES: Final = 120
_KEY_BYTES: Final = 140


@dataclass(slots=True)
class Variants:
    """Immutable but for `stored_until`, which is only a note."""

    specs: tuple[tuple[str, ...], ...] = ()
    """Nominated fields, each set sorted; the one that was named last comes first."""
    keys: tuple[bytes, ...] = ()
    """Of the variants that were made or met here, oldest first."""
    stored_until: float = field(default=0.0, compare=False)
    """Until when the shared store has it as it is, in unix seconds."""

    @property
    def size(self) -> int:
        """About the bytes of memory it takes."""
        return 200 + _SPEC_BYTES * sum(map(len, self.specs)) + _KEY_BYTES * len(self.keys)

    def with_variant(self, names: tuple[str, ...], key: bytes, most: int) -> tuple[Variants, list[bytes]]:
        """With one more variant that these fields were nominated for, and the keys of those that are too many."""
        specs = (names, *(spec for spec in self.specs if spec != names))[:MAX_SPECS]
        keys = self.keys if key in self.keys else (*self.keys, key)
        surplus = keys[: max(0, len(keys) - most)]
        # What the store has names the same fields in whatever order.
        until = self.stored_until if set(specs) == set(self.specs) else 0.0
        return Variants(specs, keys[len(surplus) :], until), list(surplus)

    def merged(self, other: Variants) -> Variants:
        """With what another process knows."""
        specs = (*self.specs, *(spec for spec in other.specs if spec not in self.specs))[:MAX_SPECS]
        return Variants(specs, self.keys, 0.0)

    def needs_storing(self, until: float) -> bool:
        """Whether the store does not have it as it is, or not for as long."""
        return self.stored_until < until

    def to_bytes(self) -> bytes:
        return MAGIC + json.dumps(self.specs, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: object) -> Variants | None:
        """The variants in an envelope; None for whatever is none."""
        if not isinstance(data, bytes) or not data.startswith(MAGIC):
            return None
        try:
            specs = json.loads(data[len(MAGIC) :])
            found = tuple(tuple(name for name in spec if isinstance(name, str)) for spec in specs if spec)
        except (ValueError, TypeError, RecursionError):
            return None
        if not found or len(found) > MAX_SPECS or any(not 0 < len(spec) <= _MAX_NAMES for spec in found):
            return None
        return cls(found)
