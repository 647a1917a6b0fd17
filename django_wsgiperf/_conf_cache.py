"""The table of `WSGIPERF["CACHE"]`: which responses are kept and shared, where, and for how long.

Each field is one option; conf.py reads, checks and shows them all alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from django_wsgiperf._conf_options import Section, option


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings(Section):
    """`WSGIPERF["CACHE"]`: which responses are kept and shared, where, and for how long."""

    enabled: bool = option(True, "whether public responses are kept and shared", group="What is kept")

    store: str = option(
        "",
        "alias in CACHES of the store that processes and hosts share; empty keeps pages in each process alone",
        group="Where it is kept",
    )
    memory_bytes: int = option(67_108_864, "memory for pages in each process", min=65_536)
