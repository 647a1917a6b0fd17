"""The table of `WSGIPERF["CACHE"]`: which responses are kept and shared, where, and for how long.

Each field is one option; conf.py reads, checks and shows them all alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_wsgiperf._conf_errors import Conflict
from django_wsgiperf._conf_options import Format, Section, option


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings(Section):
    """`WSGIPERF["CACHE"]`: which responses are kept and shared, where, and for how long."""

    enabled: bool = option(True, "whether public responses are kept and shared", group="What is kept")
    exclude: tuple[str, ...] = option(
        (),
        "beginnings of paths that are never kept, such as /account/; the admin's always is one",
        format=Format.URL_PATH,
    )
    max_body_bytes: int = option(1_048_576, "largest body that is kept", min=1)
    max_head_bytes: int = option(16_384, "largest head (status and headers) that is kept", min=256, max=1_048_576)
    max_variants: int = option(
        64, "variants that are kept of one address, by what its Vary names; the oldest goes", min=1, max=10_000
    )
    targets: tuple[str, ...] = option(
        ("WSGIPerf-Cache-Control",),
        "header fields that go before Cache-Control for this cache alone, the first first; such as CDN-Cache-Control",
        format=Format.FIELD_NAME,
    )
    store_no_cache: bool = option(
        False, "whether no-cache responses with an ETag or Last-Modified are kept, and asked about at each request"
    )
    heuristic: bool = option(
        False, "whether pages that only have a Last-Modified are kept for a share of their age at that time"
    )
    heuristic_fraction: float = option(0.1, "that share", min=0.001, max=1)
    heuristic_max_s: float = option(86_400.0, "and the longest time that comes of it", min=1)

    store: str = option(
        "",
        "alias in CACHES of the store that processes and hosts share; empty keeps pages in each process alone",
        group="Where it is kept",
    )
    store_timeout_s: float = option(
        0.1, "longest wait for Redis before pages are made without it; for other stores CACHES says", min=0.005, max=10
    )
    prefix: str = option("", "tells sites apart that share a store under the same KEY_PREFIX")
    memory_bytes: int = option(67_108_864, "memory for pages in each process", min=65_536)
    memory_entries: int = option(100_000, "pages in the memory of each process", min=1, max=10_000_000)
    max_stale_s: float = option(
        1.0, "time after which a process has heard of every purge, should its announcement be lost", min=0.05, max=60
    )
    max_tags: int = option(
        20_000,
        "purged tags and addresses that are remembered; what carries older ones is taken for purged",
        min=100,
        max=1_000_000,
    )

    request_directives: bool = option(
        False,
        "whether clients may ask for fresher pages by Cache-Control and Pragma: each such request costs a rendering",
        group="How long it is used",
    )
    swr_s: float = option(
        0.0, "stale-while-revalidate of responses that say nothing of it: used so long after their time", min=0
    )
    sie_s: float = option(
        0.0, "stale-if-error of responses that say nothing of it: used so long after, when the page fails", min=0
    )
    keep_s: float = option(
        3600.0, "time for which a response is kept after that, to ask the application whether it still holds", min=0
    )
    s_maxage_forbids_stale: bool = option(
        True, "whether s-maxage forbids stale responses even where the response allows them, as RFC 9111 has it"
    )
    max_lifetime_s: float = option(86_400.0, "longest time that any response is used without asking", min=1)
    jitter: float = option(
        0.05, "random share taken off a lifetime, so that pages made together do not expire together", min=0, max=0.9
    )
    early_refresh: float = option(
        1.0, "how early popular pages are made anew in the background (beta of XFetch); 0 is not before", min=0, max=100
    )

    ignored_parameters: tuple[str, ...] = option(
        ("utm_*", "gclid", "gbraid", "wbraid", "fbclid", "msclkid", "mc_cid", "mc_eid", "_ga", "_gl"),
        "query parameters that change no page; * stands for any characters",
        group="What tells pages apart",
    )
    sort_query: bool = option(False, "whether the order of query parameters changes no page")
    ignored_cookies: tuple[str, ...] = option(
        (
            *("_ga*", "_gid", "_gat*", "_gcl*", "__utm*", "_fbp", "_fbc", "_hj*", "_pk_*", "_uet*", "_clck", "_clsk"),
            *("__hstc", "__hssc", "__hssrc", "hubspotutk", "ajs_*", "amplitude_*", "mp_*", "optimizely*"),
        ),
        "cookies that change no page; * stands for any characters. The CSRF cookie is always one",
    )
    private_cookies: tuple[str, ...] = option(
        (), "cookies, beside the session's, that make a page with Vary: Cookie somebody's own", format=Format.COOKIE
    )
    bypass_cookies: tuple[str, ...] = option(
        (),
        "cookies, beside that of the messages, with which a request is neither answered from the cache nor kept",
        format=Format.COOKIE,
    )
    time_zones: bool = option(
        False, "whether pages made while another time zone than TIME_ZONE is active are kept: only if none shows times"
    )

    wait_s: float = option(
        5.0,
        "time after which one of the requests that wait for a page makes it too; the next after twice as long",
        group="Many requests for one page",
        min=0.01,
    )
    max_waiters: int = option(
        0,
        "threads that may wait, others a quarter of a second or beside the pool; 0 is as many as can be spared",
        min=0,
        max=10_000,
    )
    lease_s: float = option(5.0, "time one process has for a page before another makes it too", min=0.1, max=600)
    hit_for_miss_s: float = option(
        10.0, "time for which nobody waits for a page that could not be shared; 0 turns it off", min=0
    )
    refresh_threads: int = option(2, "threads that make stale pages anew in the background", min=1, max=64)
    refresh_queue: int = option(
        256, "pages that may wait for them; more are left to a later request", min=1, max=100_000
    )

    compress: tuple[str, ...] = option(
        ("br", "zstd", "gzip"),
        "content codings for kept pages, preferred first, of those whose packages are installed; none turns it off",
        group="What is sent",
        choices=("br", "zstd", "gzip"),
    )
    compress_min_bytes: int = option(1_024, "smallest body that is compressed", min=0)
    etag: bool = option(True, "whether kept pages without an ETag get one, so that clients can ask whether they hold")
    cache_status: str = option(
        "brief",
        "Cache-Status header: what the cache did and why; full tells the remaining time and the key as well",
        choices=("off", "brief", "full"),
    )

    def conflicts(self) -> Iterator[Conflict]:
        """The combinations that cannot be meant."""
        if self.max_body_bytes > self.memory_bytes:
            yield Conflict(
                ("max_body_bytes", "memory_bytes"),
                "a page may be larger than all the memory for pages",
                "write a smaller MAX_BODY_BYTES, or a larger MEMORY_BYTES",
            )
        for name in sorted(set(self.bypass_cookies) & set(self.private_cookies)):
            yield Conflict(
                ("bypass_cookies", "private_cookies"),
                f"the cookie {name!r} is in both",
                "list it in one of them: BYPASS_COOKIES is the stricter",
            )
