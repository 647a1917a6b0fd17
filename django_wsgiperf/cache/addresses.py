"""The tags by which stored pages are purged by their address, and addresses from the URLs that people write.

Every entry carries two: one of its whole address, and one of its path and query alone, for purges that name no host.
Neither depends on the language, which is part of the keys: a purge is for all languages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from .headers import NoVarySearch, parse_no_vary_search
from .key import KEY_BYTES, Keys, unplaced_in
from .messages import Request
from .policy.invalidation import Target
from .tags import ADDRESS_MARK, ADDRESS_VERSION

if TYPE_CHECKING:
    from .site import Site

_WHOLE: Final = f"{ADDRESS_MARK}{ADDRESS_VERSION}u:"
_PATH: Final = f"{ADDRESS_MARK}{ADDRESS_VERSION}p:"


def tags_of(keys: Keys, request: Request, search: str | None) -> tuple[str, str]:
    """The tags that an entry for this request carries."""
    query = request.query
    if search is not None:
        query = _searched(keys, parse_no_vary_search(search), query)
    return _whole(keys, request.scheme, request.host, request.path, query), _path(keys, request.path, query)


def tags_in(site: Site, environ: Mapping[str, Any], primary: bytes) -> tuple[str, str]:
    """As tags_of(), for the request in an environ, whose primary key this is, and no No-Vary-Search. For sites whose
    keys have a language; tags_by() is for others."""
    scheme = site.scheme(environ)
    path = site.script(environ) + (environ.get("PATH_INFO", "") or "/")
    return _whole(site.keys, scheme, site.host(environ, scheme), path, environ.get("QUERY_STRING", "")), tags_by(
        primary
    )[1]


def tags_by(primary: bytes) -> tuple[str, str]:
    """As tags_of(), by the primary key of an address, on a site whose keys have no language."""
    return _WHOLE + primary.hex(), _PATH + unplaced_in(primary).hex()


def tags_for(keys: Keys, target: Target, searches: Iterable[NoVarySearch] = ()) -> tuple[str, ...]:
    """The tags that a purge of this address names; of all hosts where it has none. `searches` are what its responses
    have said of their query."""
    queries = [target.query, *(_searched(keys, search, target.query) for search in searches)]
    if not target.host:
        return tuple(_path(keys, target.path, query) for query in queries)
    return tuple(_whole(keys, target.scheme, target.host, target.path, query) for query in queries)


def _searched(keys: Keys, search: NoVarySearch, query: str) -> str:
    return search.normalise(keys.normalise_query(query))


def _whole(keys: Keys, scheme: str, host: str, path: str, query: str) -> str:
    return _WHOLE + keys.primary(scheme, host, path, query).hex()


def _path(keys: Keys, path: str, query: str) -> str:
    # A digest, since a query may have a token, and a store is read.
    return _PATH + keys.unplaced(path, query).hex()


TAGS_CHARS: Final = len("".join(tags_by(bytes(2 * KEY_BYTES))))
"""Of the two that an entry has."""


def target_of(url: str) -> Target:
    """The address that a URL names: `https://shop.example/books/?page=2`, or `/books/?page=2` for every host.

    Raises ValueError, which says what is wrong with it."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}. Write for example 'https://shop.example/books/'") from None
    if not parts.scheme and not parts.netloc:
        if not text.startswith("/"):
            raise ValueError(f"{url!r} is no URL and no path. Write '/{text}', or with scheme and host")
        return Target("", "", _decoded(parts.path), parts.query)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} has no scheme http or https with a host. Write for example 'https://shop.example/'")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(parts.scheme, host if port is None else f"{host}:{port}", _decoded(parts.path or "/"), parts.query)


def _decoded(path: str) -> str:
    """A path as PEP 3333 has it, from one that may hold characters or escapes."""
    return unquote_to_bytes(quote(path, safe="/%:@!$&'()*+,;=~-._")).decode("latin-1")
