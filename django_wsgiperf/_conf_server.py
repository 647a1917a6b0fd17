"""The table of `WSGIPERF["SERVER"]`: what `manage.py serve` listens on, and how it runs requests.

Each field is one option; conf.py reads, checks and shows them all alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_wsgiperf._conf_errors import Conflict
from django_wsgiperf._conf_options import Format, Section, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(Section):
    """`WSGIPERF["SERVER"]`: what `manage.py serve` listens on, and how it runs requests."""

    bind: tuple[str, ...] = option(
        ("127.0.0.1:8000",),
        "addresses to listen on: host:port, [v6]:port, unix:path or fd://N",
        group="Where and how many",
        format=Format.ADDRESS,
        min=1,
    )
    threads: int = option(8, "threads that run the application in each worker process", min=1, max=1024)
    workers: int = option(1, 'worker processes; "auto" is one per CPU core', min=1, max=512, auto=True)
    backlog: int = option(2048, "connections that the kernel keeps waiting for accept()", min=1, max=65_535)
    max_connections: int = option(
        10_000,
        "open connections in each worker, fewer where the limit of open files is lower; "
        "more take the place of those that rest, or wait",
        min=1,
    )
    reload: bool = option(False, "restart when a source file changes (for development)")
    pid_file: str = option("", "file to write the master's process id to", format=Format.OUTPUT_FILE)

    certfile: str = option("", "TLS certificate chain file (PEM)", group="TLS", format=Format.INPUT_FILE)
    keyfile: str = option("", "TLS private key file (PEM)", format=Format.INPUT_FILE)

    queue_length: int = option(
        512, "complete requests that may wait for a thread; more get 503", group="Waiting for a thread", min=0
    )
    queue_deadline_s: float = option(
        30.0, "longest wait for a thread before 503 when queues are short-lived", min=0.001
    )
    queue_standing_deadline_s: float = option(
        5.0, "longest wait for a thread before 503 once the queue has not been empty for that long", min=0.001
    )

    header_timeout_s: float = option(
        10.0, "time a client has to send a request's head", group="Waiting for the client", min=0.05
    )
    body_timeout_s: float = option(30.0, "longest pause between two pieces of a request's body", min=0.05)
    body_min_rate: int = option(500, "rate below which an upload is given up; 0 turns it off", unit="bytes/s", min=0)
    keepalive_s: float = option(75.0, "time an idle connection is kept for the next request; 0 closes at once", min=0)
    write_timeout_s: float = option(30.0, "longest time a client may take no byte of a response", min=0.05)

    head_bytes: int = option(
        32_768, "largest request head (request line and headers)", group="Limits", min=256, max=1_048_576
    )
    head_fields: int = option(100, "most header fields in a request", min=1, max=10_000)
    target_bytes: int = option(8_190, "longest request target (path and query)", min=16, max=65_535)
    body_bytes: int = option(1_073_741_824, "largest request body; 0 refuses every body", min=0)
    body_memory_bytes: int = option(262_144, "request bodies above this size go to a temporary file", min=0)
    outbound_memory_bytes: int = option(
        1_048_576,
        "unsent response bytes held in memory per connection; longer pieces have 64 times that, all together",
        min=4096,
    )
    outbound_spool_bytes: int = option(
        67_108_864, "unsent response bytes held in a temporary file before the producer is paused", min=0
    )
    max_streams: int = option(
        64, "long or paused streaming responses that may keep a thread of their own beside the pool", min=0
    )

    request_timeout_s: float = option(
        60.0,
        "time the application has for a request before it is interrupted with 504; 0 turns it off",
        group="Stuck requests and worn-out workers",
        min=0,
    )
    max_lost_threads: int = option(2, "threads lost to stuck requests before the worker is replaced", min=1)
    max_requests: int = option(0, "requests after which a worker is replaced; 0 turns it off", min=0)
    max_requests_jitter: int = option(0, "random addition to MAX_REQUESTS, so that workers differ", min=0)
    max_rss_bytes: int = option(0, "resident memory above which a worker is replaced; 0 turns it off", min=0)
    worker_timeout_s: float = option(
        30.0, "silence of a whole worker process after which the master kills it; 0 turns it off", min=0
    )

    drain_delay_s: float = option(
        0.0, "on TERM, time to go on accepting while READY_PATH says 503", group="Stopping", min=0
    )
    graceful_timeout_s: float = option(30.0, "on TERM, time that running requests have to end", min=0)

    trusted_proxies: tuple[str, ...] = option(
        (),
        'proxies whose forwarding headers are believed: addresses or networks, or "unix" for unix sockets',
        group="Behind a proxy",
        format=Format.NETWORK,
    )
    proxy_hops: int = option(1, "how many trusted proxies a request passes at most", min=1, max=32)
    proxy_headers: tuple[str, ...] = option(
        ("x-forwarded-for", "x-forwarded-proto"),
        "which headers trusted proxies set, every one of them on each request; the others are removed",
        choices=("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"),
        min=1,
    )
    proxy_protocol: bool = option(False, "trusted proxies open each connection with a PROXY protocol header, v1 or v2")

    access_log: str = option("off", "access log format", group="What it tells", choices=("off", "combined", "json"))
    access_log_file: str = option("-", "access log file; - is standard output", format=Format.OUTPUT_FILE)
    log_level: str = option("info", "server log level", choices=("debug", "info", "warning", "error", "critical"))
    live_path: str = option("/-/live", "path that says the process lives; empty turns it off", format=Format.URL_PATH)
    ready_path: str = option(
        "/-/ready", "path that says it can take requests; empty turns it off", format=Format.URL_PATH
    )
    ready_checks: tuple[str, ...] = option(
        ("database", "cache", "migrations"),
        "what READY_PATH asks, beside whether the server is stopping",
        choices=("database", "cache", "migrations"),
    )
    ready_timeout_s: float = option(
        5.0, "time that the checks of READY_PATH have before they count as failed", min=0.05, max=300
    )
    metrics_path: str = option(
        "/-/metrics", "path of the Prometheus metrics; empty turns it off", format=Format.URL_PATH
    )
    stats_path: str = option("/-/stats", "path of the JSON statistics; empty turns it off", format=Format.URL_PATH)
    stats_allow: tuple[str, ...] = option(
        (),
        'addresses or networks that may read metrics and statistics, or "unix"; none by default',
        format=Format.NETWORK,
    )
    stats_token: str = option("", "bearer token that opens metrics and statistics", format=Format.TOKEN, secret=True)
    control_dir: str = option(
        "",
        "folder in which the project's processes on this host find each other, each user's in one of its own inside; "
        "empty is the system's temporary folder",
        format=Format.FOLDER,
    )

    switch_interval_ms: float = option(
        5.0, "how long a thread may keep the interpreter lock", group="The interpreter", min=0.01, max=1000
    )
    compute_threads: int = option(
        0,
        "requests of pages that mostly compute that run at once in each worker; 0 adapts it to the load",
        min=0,
        max=1024,
    )
    gc_freeze: bool = option(True, "move what is loaded before the fork out of the garbage collector's sight")

    def conflicts(self) -> Iterator[Conflict]:
        """The combinations that cannot be meant."""
        for given, lacking in (("certfile", "keyfile"), ("keyfile", "certfile")):
            if getattr(self, given) and not getattr(self, lacking):
                yield Conflict(
                    (given, lacking),
                    "TLS needs the certificate and its key",
                    f"set {lacking.upper()} too, or neither",
                )
        if self.queue_standing_deadline_s > self.queue_deadline_s:
            yield Conflict(
                ("queue_standing_deadline_s", "queue_deadline_s"),
                "a standing queue may not wait longer than a short-lived one",
                "set both, QUEUE_STANDING_DEADLINE_S no longer than QUEUE_DEADLINE_S",
            )
        if self.proxy_protocol and not self.trusted_proxies:
            yield Conflict(
                ("proxy_protocol", "trusted_proxies"),
                "the PROXY protocol is believed from trusted proxies only, and there are none",
                "list the proxies' addresses in TRUSTED_PROXIES",
            )
        if "forwarded" in self.proxy_headers and len(set(self.proxy_headers)) > 1:
            yield Conflict(
                ("proxy_headers",),
                "two headers that tell the client could tell two",
                "list 'forwarded' alone, or the 'x-forwarded' ones that the proxies set",
            )
        pages = ("live_path", "ready_path", "metrics_path", "stats_path")
        for index, first in enumerate(pages):
            for second in pages[index + 1 :]:
                if getattr(self, first) and getattr(self, first) == getattr(self, second):
                    yield Conflict((second, first), "two pages have the same path", "give each a path of its own")
        for address in sorted({address for address in self.bind if self.bind.count(address) > 1}):
            if not address.endswith(":0"):
                yield Conflict(("bind",), f"{address!r} is listed twice", "list each address once")
