"""gunicorn's own options and hooks, for `gunicorn -k django_wsgiperf.server.worker.PooledWorker project.wsgi`.

Translates its options to ours, and shows our requests to its hooks and to its access log in the shape they expect.
Under `serve` none of this is used but `settings_from`, which finds the settings there ready.
"""

from __future__ import annotations

import logging
import os
import shlex
import ssl
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn import sock as gunicorn_sock

from django_wsgiperf.conf import ServerSettings, Source, adopt, load

from .proxy import ProxyTrust

if TYPE_CHECKING:
    from .gateway import Exchange, WSGIApplication
    from .reactor import AccessLogHook
    from .slots import Slot

logger = logging.getLogger("django_wsgiperf.server")

_COUNTERPARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "threads": ("threads", int),
    "workers": ("workers", lambda number: max(1, number)),
    "backlog": ("backlog", int),
    "worker_connections": ("max_connections", int),
    "keepalive": ("keepalive_s", float),
    "timeout": ("worker_timeout_s", float),
    "max_requests": ("max_requests", int),
    "max_requests_jitter": ("max_requests_jitter", int),
    "graceful_timeout": ("graceful_timeout_s", float),
    "limit_request_line": ("target_bytes", lambda limit: limit or 65_535),
    "limit_request_fields": ("head_fields", int),
}
"""gunicorn's option to ours. Its value counts when it is given, and also its default where WSGIPERF says nothing."""

_UNUSED = {
    "limit_request_field_size": "HEAD_BYTES limits the whole head of a request",
    "secure_scheme_headers": "PROXY_HEADERS says which headers tell the scheme, X-Forwarded-Proto or Forwarded",
    "forwarder_headers": "header names with an underscore are dropped, whoever sends them",
}

_VERSIONS = {"v1": (1,), "v2": (2,), "auto": (1, 2)}


def settings_from(cfg: Any) -> ServerSettings:
    """The server's settings: those `serve` resolved, or WSGIPERF with gunicorn's own options on top.

    Raises ConfigurationError."""
    ready = getattr(cfg, "wsgiperf_settings", None)
    if ready is not None:
        assert isinstance(ready, ServerSettings)
        return ready
    said = load("SERVER")
    given: dict[str, object] = {}
    for theirs, (ours, convert) in _COUNTERPARTS.items():
        if is_given(cfg, theirs) or said.origins[ours].source is Source.DEFAULT:
            given[ours] = convert(getattr(cfg, theirs))
    # Who is believed counts only when it is given, for gunicorn's default trusts this machine.
    if _lists_addresses(cfg, "forwarded_allow_ips"):
        given["trusted_proxies"] = _networks(cfg.forwarded_allow_ips)
    if is_given(cfg, "proxy_protocol"):
        given["proxy_protocol"] = True
        unsaid = said.origins["trusted_proxies"].source is Source.DEFAULT
        if unsaid or _lists_addresses(cfg, "proxy_allow_ips"):
            given.setdefault("trusted_proxies", _networks(cfg.proxy_allow_ips))
    for theirs, instead in _UNUSED.items():
        if is_given(cfg, theirs):
            logger.warning("%s is not used: %s", theirs, instead)
    resolved = load("SERVER", cli=given)
    # The rest of the process is to see what gunicorn was told: a connection pool takes its size from the threads.
    adopt(resolved)
    return resolved.values


def proxy_trust(cfg: Any, settings: ServerSettings) -> ProxyTrust | None:
    """The proxies that are believed: gunicorn may list others for the PROXY protocol than for header fields."""
    if cfg.proxy_protocol == "off":
        return ProxyTrust.from_settings(settings)
    theirs = any(_lists_addresses(cfg, name) for name in ("proxy_allow_ips", "forwarded_allow_ips"))
    return ProxyTrust(
        settings.trusted_proxies,
        hops=settings.proxy_hops,
        headers=settings.proxy_headers,
        opening=_networks(cfg.proxy_allow_ips) if theirs else settings.trusted_proxies,
        versions=_VERSIONS[cfg.proxy_protocol],
    )


def is_given(cfg: Any, name: str) -> bool:
    """Whether a gunicorn option is not at its default; gunicorn keeps no record of what was typed."""
    setting = cfg.settings[name]
    return bool(setting.get() != type(setting)().get())


def _lists_addresses(cfg: Any, name: str) -> bool:
    """Whether an option was given, be it with gunicorn's own default or by the environment that makes its default."""
    flag = cfg.settings[name].cli[0]
    words = (*sys.argv[1:], *shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")))
    written = any(word == flag or word.startswith(f"{flag}=") for word in words)
    return is_given(cfg, name) or written or (name == "forwarded_allow_ips" and "FORWARDED_ALLOW_IPS" in os.environ)


def _networks(entries: Any) -> tuple[str, ...]:
    everyone = ("0.0.0.0/0", "::/0", "unix")
    texts = tuple(str(entry) for entry in entries)
    return everyone if "*" in texts else (*texts, "unix")


def tls_context(cfg: Any) -> ssl.SSLContext | None:
    """What gunicorn's certfile, ca_certs, ciphers and its ssl_context hook make; None without TLS."""
    if not cfg.is_ssl:
        return None
    context: ssl.SSLContext = gunicorn_sock.ssl_context(cfg)
    context.set_alpn_protocols(["http/1.1"])
    return context


class HookRequest:
    """A request as gunicorn's hooks and access log know it."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.method = environ["REQUEST_METHOD"]
        self.uri = environ["RAW_URI"]
        self.path = self.uri.partition("?")[0]
        self.query = environ["QUERY_STRING"]
        self.scheme = environ["wsgi.url_scheme"]
        self.version = (1, int(environ["SERVER_PROTOCOL"][-1]))
        self.headers = [
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        ]


class HookResponse:
    """A response as gunicorn's hooks and access log know it."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status_line
        self.status_code = exchange.code
        self.headers = exchange.response_headers
        self.sent = self.response_length = exchange.sent


def with_pre_request(worker: Any, application: WSGIApplication) -> WSGIApplication:
    """The application with gunicorn's `pre_request` hook before each call, if there is one."""
    if not is_given(worker.cfg, "pre_request"):
        return application

    def hooked(environ: Any, start_response: Any) -> Any:
        worker.cfg.pre_request(worker, HookRequest(environ))
        return application(environ, start_response)

    return hooked


def after_requests(worker: Any) -> AccessLogHook | None:
    """What gunicorn does after a request: its access log and statsd, as configured, and the `post_request` hook."""
    cfg, log = worker.cfg, worker.log
    logs = bool(getattr(log, "access_log_enabled", cfg.accesslog) or cfg.statsd_host)
    hooks = is_given(cfg, "post_request")
    if not (logs or hooks):
        return None

    def after(exchange: Exchange, slot: Slot, queued_ns: int, took_ns: int) -> None:
        try:
            request, response = HookRequest(exchange.environ), HookResponse(exchange)
            if logs:
                log.access(response, request, exchange.environ, timedelta(microseconds=took_ns // 1000))
            if hooks:
                cfg.post_request(worker, request, exchange.environ, response)
        except Exception:
            logger.exception("gunicorn's access log or post_request hook failed")

    return after
