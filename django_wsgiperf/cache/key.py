"""What stored responses are found by: a primary key for the address, a variant key for the nominated request fields.

A primary key is that of the path and query, then that of the place (scheme, host, language), of which a site has few.
Each part is framed by its length, so that no two different requests have one key. Keys are digests, which no client can
make collide. The method is no part: a stored GET answers HEAD too (RFC 9111, 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from .headers import NoVarySearch
from .messages import Request, environ_host
from .normalise import (
    COOKIE,
    RAW_LANGUAGE,
    Normaliser,
    cookie_normaliser,
    cookie_value,
    normaliser_of,
    query_normaliser,
)

Language = Callable[[str, str | None, str | None], str]
"""PATH_INFO, value of the language cookie and Accept-Language -> the language that the application will choose."""

IGNORED_PARAMETERS: Final = (
    "utm_*",
    "gclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
)
IGNORED_COOKIES: Final = (
    *("_ga*", "_gid", "_gat*", "_gcl*", "__utm*", "_fbp", "_fbc", "_hj*", "_pk_*", "_uet*", "_clck", "_clsk"),
    *("__hstc", "__hssc", "__hssrc", "hubspotutk", "ajs_*", "amplitude_*", "mp_*", "optimizely*"),
)
"""Cookies of analytics scripts, which applications do not read."""

KEY_BYTES: Final = 20
_PAGE: Final = blake2b(digest_size=KEY_BYTES, person=b"wsgiperf page")
_PLACE: Final = blake2b(digest_size=KEY_BYTES, person=b"wsgiperf place")
_VARIANT: Final = blake2b(digest_size=KEY_BYTES, person=b"wsgiperf variant")
_ADDRESS: Final = blake2b(digest_size=KEY_BYTES, person=b"wsgiperf address")
_MAX_REMEMBERED: Final = 2048
_MAX_REMEMBERED_CHARS: Final = 512
"""Keys of longer addresses are made each time, so that no client can fill the memory with them."""
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
OPEN: Final = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", RAW_LANGUAGE, "content-type", "dnt"),
        *(
            "host",
            "origin",
            "prefer",
            "save-data",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-gpc",
            "user-agent",
        ),
        *("x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-requested-with", "hx-request"),
    }
)
"""Fields in which nobody sends a secret."""
_UNPREFIXED: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

SPECIAL: Final = frozenset(
    f"HTTP_{name}"
    for name in (
        *("COOKIE", "AUTHORIZATION", "PROXY_AUTHORIZATION", "CACHE_CONTROL", "PRAGMA", "RANGE", "IF_RANGE", "EXPECT"),
        *("IF_NONE_MATCH", "IF_MODIFIED_SINCE", "IF_MATCH", "IF_UNMODIFIED_SINCE", "TRANSFER_ENCODING", "UPGRADE"),
    )
)
"""The environ keys of the fields that policy has to look at before a stored response is used."""

_is_plain = SPECIAL.isdisjoint


def is_plain(environ: Mapping[str, Any]) -> bool:
    """Whether nothing about the request but its address and the nominated fields can matter: the fast path.

    A GET with no body, cookie, credentials, conditions, range or wishes about caching."""
    return environ["REQUEST_METHOD"] == "GET" and _is_plain(environ) and environ.get("CONTENT_LENGTH", "") in ("", "0")


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What tells requests apart."""

    prefix: str = ""
    """Of the site, where several share a store."""
    ignored_parameters: tuple[str, ...] = IGNORED_PARAMETERS
    """Names of query parameters that change no response; `*` stands for any characters."""
    sort_query: bool = False
    """Whether the order of differently named parameters changes no response."""
    ignored_cookies: tuple[str, ...] = IGNORED_COOKIES
    """Names of cookies that change no response; `*` stands for any characters."""
    secret: bytes | None = None
    """With it the values of fields that may be secret are known by their digest alone: at most 64 bytes."""
    language_cookie: str | None = None
    language: Language | None = None
    """Where given, its answer is part of every key: what Django's LocaleMiddleware chooses depends on a cookie that
    its Vary does not name."""


class Keys:
    """Makes the keys of one site. Safe to share between threads; what it remembers is bounded."""

    __slots__ = (
        "_address",
        "_cookies",
        "_nominated",
        "_page",
        "_place",
        "_query",
        "_recall_place",
        "_recall_primary",
        "_recall_variant",
        "_rules",
    )

    def __init__(self, rules: KeyRules | None = None) -> None:
        self._rules = rules = rules if rules is not None else KeyRules()
        self._cookies = cookie_normaliser(rules.ignored_cookies)
        self._page, self._place, self._address = (_prefixed(kind, rules.prefix) for kind in (_PAGE, _PLACE, _ADDRESS))
        self._recall_place = lru_cache(512)(self.place)
        self._nominated = lru_cache(256)(self._nominate)
        self._query = query_normaliser(rules.ignored_parameters, is_sorted=rules.sort_query)
        self._recall_primary = lru_cache(_MAX_REMEMBERED)(self._make_primary)
        self._recall_variant = lru_cache(_MAX_REMEMBERED)(self._make_variant)

    def normalise_query(self, query: str) -> str:
        """A query without what changes no response."""
        return self._query(query) if query else ""

    def primary(self, scheme: str, host: str, path: str, query: str, language: str = "") -> bytes:
        """The key of an address. `path` as PEP 3333 has it: decoded, each character a byte."""
        if len(host) + len(path) + len(query) + len(language) > _MAX_REMEMBERED_CHARS:
            return self._make_primary(scheme, host, path, query, language)
        return self._recall_primary(scheme, host, path, query, language)

    def _make_primary(self, scheme: str, host: str, path: str, query: str, language: str) -> bytes:
        place = self._recall_place if len(host) + len(language) <= _MAX_REMEMBERED_CHARS else self.place
        return self.unplaced(path, query) + place(scheme, host, language)

    def of_environ(self, environ: Mapping[str, Any], scheme: str | None = None, host: str | None = None) -> bytes:
        """The primary key of a request; `scheme` and `host` stand in where a trusted proxy knows better."""
        # An empty path means the root to Django as well.
        script, info = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "") or "/"
        return self.primary(
            scheme or environ.get("wsgi.url_scheme", "http"),
            host or environ_host(environ),
            script + info,
            environ.get("QUERY_STRING", ""),
            self.language_in(environ, info),
        )

    def of_request(self, request: Request) -> bytes:
        """The primary key of a request."""
        return self.primary(request.scheme, request.host, request.path, request.query, self.language_of(request))

    def language_in(self, environ: Mapping[str, Any], path: str) -> str:
        """As language_of(), for an environ with this PATH_INFO."""
        choose = self._rules.language
        if choose is None:
            return ""
        return self._language(choose, path, environ.get("HTTP_COOKIE"), environ.get("HTTP_ACCEPT_LANGUAGE"))

    def language_of(self, request: Request) -> str:
        """The language that the application will choose; empty where that is no matter of these keys."""
        choose, fields = self._rules.language, request.fields
        if choose is None:
            return ""
        path = request.path[request.script :] or "/"
        return self._language(choose, path, fields.get("cookie"), fields.get("accept-language"))

    def unplaced(self, path: str, query: str) -> bytes:
        """The key of a path and query on whatever host, by whatever scheme, in whatever language."""
        digest = self._page.copy()
        if query:
            normalise = self._query
            query = normalise(query)
        digest.update(f"{len(path)}:{path}{query}".encode("utf-8", "surrogatepass"))
        return digest.digest()

    def address(self, scheme: str, host: str, path: str) -> bytes:
        """The key of an address whatever its query: what the No-Vary-Search of its responses is remembered by."""
        return _digest(self._address, scheme, _authority(scheme, host), path)

    def place(self, scheme: str, host: str, language: str) -> bytes:
        """What a primary key ends with: the key of the place, which follows that of the path and query."""
        return _digest(self._place, scheme, _authority(scheme, host), language)

    def searched(self, request: Request, search: NoVarySearch) -> bytes:
        """The primary key where queries that differ in nothing that matters to `search` are one."""
        query = search.normalise(self.normalise_query(request.query))
        return self.of_request(replace(request, query=query))

    def variant(self, primary: bytes, nominated: tuple[tuple[str, str | None], ...]) -> bytes:
        """The key of the variant with these normalised values; the primary key itself where nothing is nominated."""
        if not nominated:
            return primary
        chars = 0
        for _, value in nominated:
            if value is not None:
                chars += len(value)
        if chars > _MAX_REMEMBERED_CHARS:
            return self._make_variant(primary, nominated)
        return self._recall_variant(primary, nominated)

    def _make_variant(self, primary: bytes, nominated: tuple[tuple[str, str | None], ...]) -> bytes:
        parts = [
            f"{len(name)}:{name}-," if value is None else f"{len(name)}:{name}{len(value)}:{value},"
            for name, value in nominated
        ]
        digest = _VARIANT.copy()
        digest.update(primary)
        digest.update("".join(parts).encode("utf-8", "surrogatepass"))
        return digest.digest()

    def values(self, names: tuple[str, ...], environ: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
        """The nominated fields (lower case, as parse_vary() gives them) with their normalised values."""
        pairs = []
        for name, key, normalise in self._nominated(names):
            value = environ.get(key)
            pairs.append((name, None if value is None else normalise(value)))
        return tuple(pairs)

    def values_of(self, names: tuple[str, ...], request: Request) -> tuple[tuple[str, str | None], ...]:
        """As values(), for a request that is no environ."""
        pairs = []
        for name, _, normalise in self._nominated(names):
            value = request.fields.get(name.partition("=")[0])
            pairs.append((name, None if value is None else normalise(value)))
        return tuple(pairs)

    def _nominate(self, names: tuple[str, ...]) -> tuple[tuple[str, str, Normaliser], ...]:
        return tuple(
            (
                name,
                _UNPREFIXED.get(field) or f"HTTP_{field.upper().replace('-', '_')}",
                self._normaliser(name),
            )
            for name in names
            # What depends on one cookie alone is nominated as `cookie=name`.
            for field in (name.partition("=")[0],)
        )

    def _normaliser(self, name: str) -> Normaliser:
        normalise, secret = self._plain_normaliser(name), self._rules.secret
        if secret is None or name in OPEN:
            return normalise

        def digested(value: str) -> str | None:
            plain = normalise(value)
            if not plain:
                return plain
            return blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES, key=secret).hexdigest()

        recall = lru_cache(_MAX_REMEMBERED)(digested)
        return lambda value: recall(value) if len(value) <= _MAX_REMEMBERED_CHARS else digested(value)

    def significant_cookies(self, value: str) -> str | None:
        """A Cookie field without those that change no response."""
        return self._cookies(value)

    def _plain_normaliser(self, name: str) -> Normaliser:
        if name == "cookie":
            return self._cookies
        if name.startswith(COOKIE):
            cookie = name.removeprefix(COOKIE)
            return lambda value: cookie_value(value, cookie)
        if name == "accept-language" and self._rules.language is not None:
            # The language it leads to is in the primary key.
            return lambda value: None
        return normaliser_of(name)

    def _language(self, choose: Language, path: str, cookies: str | None, accepted: str | None) -> str:
        name = self._rules.language_cookie
        return choose(path, cookie_value(cookies, name) if cookies and name else None, accepted)


def unplaced_in(primary: bytes) -> bytes:
    """As Keys.unplaced(), for the address that this is the primary key of."""
    return primary[:KEY_BYTES]


def _prefixed(kind: blake2b, prefix: str) -> blake2b:
    digest = kind.copy()
    digest.update(f"{len(prefix)}:{prefix}".encode("utf-8", "surrogatepass"))
    return digest


def _digest(kind: blake2b, *parts: str) -> bytes:
    digest = kind.copy()
    digest.update("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _authority(scheme: str, host: str) -> str:
    """The host in lower case, without the port that the scheme has anyway (RFC 9110, 4.2.3)."""
    host = host.lower()
    port = _DEFAULT_PORTS.get(scheme)
    return host if port is None else host.removesuffix(port)
