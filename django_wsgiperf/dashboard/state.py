"""What the reader has chosen, as it stands in the query string: period, host, refresh, and what a table is sorted by.

All of it comes from the address, so that a link shows to everybody what its sender saw. Unknown values are the
defaults, never an error. Nothing here knows what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from django_wsgiperf.metrics.results import PERIODS

DEFAULT_PERIOD: Final = "1h"
REFRESH_S: Final = (0, 10, 60)
DEFAULT_REFRESH_S: Final = 10
#: Names of hosts and routes that are longer cannot be ours.
LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class State:
    """The reader's choices. `own` has those of one screen, such as the sorting of its table."""

    period: str = DEFAULT_PERIOD
    host: str = ""
    refresh_s: int = DEFAULT_REFRESH_S
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, str], own: tuple[str, ...] = ()) -> State:
        """From a query string; `own` names what else the screen understands."""
        period = data.get("period", DEFAULT_PERIOD)
        refresh = data.get("refresh", "")
        refresh_s = int(refresh) if refresh in map(str, REFRESH_S) else DEFAULT_REFRESH_S
        return cls(
            period if period in PERIODS else DEFAULT_PERIOD,
            # PostgreSQL takes no text with a null character, not even to look for it.
            data.get("host", "")[:LONGEST].replace("\0", ""),
            refresh_s,
            {name: data[name][:LONGEST] for name in own if data.get(name)},
        )

    @property
    def period_s(self) -> int:
        return PERIODS[self.period]

    def choices(self) -> dict[str, str]:
        """The choices of every screen that are not the defaults: what links to other screens carry on."""
        chosen = {
            "period": self.period if self.period != DEFAULT_PERIOD else "",
            "host": self.host,
            "refresh": str(self.refresh_s) if self.refresh_s != DEFAULT_REFRESH_S else "",
        }
        return {name: value for name, value in chosen.items() if value}

    def query(self, changes: Mapping[str, str], *, keep_own: bool = True) -> str:
        """A query string with its question mark, or nothing; a change to an empty value removes it."""
        values: dict[str, str] = {**self.choices(), **(self.own if keep_own else {}), **changes}
        kept = {name: value for name, value in values.items() if value}
        if kept.get("period") == DEFAULT_PERIOD:
            del kept["period"]
        if str(kept.get("refresh")) == str(DEFAULT_REFRESH_S):
            del kept["refresh"]
        return f"?{urlencode(kept)}" if kept else ""
