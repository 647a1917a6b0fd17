"""What a response to an unsafe request makes invalid (RFC 9111, 4.4; RFC 9875, 3). Says what; purging is tags.py's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

from django_wsgiperf.cache.headers import parse_groups
from django_wsgiperf.cache.messages import Request, Response

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """An address, in the parts that Keys.primary() takes."""

    scheme: str
    host: str
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What is no longer to be used without asking."""

    targets: tuple[Target, ...] = ()
    groups: tuple[str, ...] = ()


NOTHING: Final = Invalidation()


def invalidated_by(request: Request, response: Response) -> Invalidation:
    """The addresses and groups that the exchange makes invalid: after an unsafe method that did not fail, its own
    address, those of Location and Content-Location with the same origin, and the groups it names."""
    if request.method in SAFE_METHODS or not 200 <= response.status < 400:
        return NOTHING
    targets = [Target(request.scheme, request.host, request.path, request.query)]
    fields = response.index()
    for name in ("location", "content-location"):
        if name in fields:
            target = same_origin(request, fields[name])
            if target is not None:
                targets.append(target)
    return Invalidation(tuple(dict.fromkeys(targets)), parse_groups(fields.get("cache-group-invalidation", "")))


def same_origin(request: Request, reference: str) -> Target | None:
    """The address that a reference leads to from the request's; None for other origins, and for what is no address."""
    try:
        origin = urlsplit(f"{request.scheme}://{request.host}")
        path = quote(request.path.encode("latin-1", "replace"))
        base = f"{request.scheme}://{request.host}{path}?{request.query}"
        found = urlsplit(urljoin(base, reference.strip(" \t")))
        if _origin(found) != _origin(origin):
            return None
        decoded = unquote_to_bytes(found.path or "/").decode("latin-1")
    except ValueError:
        return None
    return Target(request.scheme, request.host, decoded, found.query)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 9110, 4.3.1). Raises ValueError for what is no port."""
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
