"""What of a project's settings tells whose page a request is for: hosts, scheme, language, cookies, excluded paths.

Reads Django's settings once, when it is made; policy and key get plain data from here. A host that Django would refuse
has no key, so that nothing is ever stored for it or found by it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http.request import split_domain_port, validate_host
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from django_wsgiperf.conf import CacheSettings

from .key import KeyRules, Keys, Language
from .messages import Request
from .policy import Rules

_MAX_REMEMBERED: Final = 2048
_MAX_REMEMBERED_CHARS: Final = 512
"""What is longer is worked out each time, so that no client can fill the memory with it."""
_MAX_SEEN: Final = 4096
_MAX_PLACES: Final = 512
_MAX_VISITED: Final = 64
Address: TypeAlias = tuple[str, str, str, str, str]
"""Scheme, host, path, query and language."""
_LOCALE: Final = "django.middleware.locale.LocaleMiddleware"


class Site:
    """The requests of one project: their keys, and the rules for them."""

    def __init__(self, values: CacheSettings) -> None:
        self.language = language_chooser() if uses_locale_middleware() else None
        self.languages = tuple(code for code, _ in settings.LANGUAGES) if self.language is not None else ()
        self.keys = Keys(
            KeyRules(
                prefix=values.prefix,
                ignored_parameters=values.ignored_parameters,
                sort_query=values.sort_query,
                ignored_cookies=(*values.ignored_cookies, settings.CSRF_COOKIE_NAME),
                secret=secret(),
                language_cookie=settings.LANGUAGE_COOKIE_NAME,
                language=self.language,
            )
        )
        self.rules = rules_of(values)
        self.language_cookie: str = settings.LANGUAGE_COOKIE_NAME
        self.excluded = values.exclude
        self.time_zones = values.time_zones or not settings.USE_TZ
        self._admin: tuple[str, ...] | None = None
        self._allowed_hosts = list(settings.ALLOWED_HOSTS)
        if settings.DEBUG and not self._allowed_hosts:
            self._allowed_hosts = [".localhost", "127.0.0.1", "[::1]"]
        self._forwarded_host = settings.USE_X_FORWARDED_HOST
        self._forwarded_port = settings.USE_X_FORWARDED_PORT
        self._secure_header: tuple[str, str] | None = settings.SECURE_PROXY_SSL_HEADER
        self._script: str | None = settings.FORCE_SCRIPT_NAME
        self.is_direct = not (self._forwarded_host or self._secure_header or self._script is not None)
        """Whether Host, the server's scheme and the path as they come are the address."""
        self.is_simple = self.is_direct and self.language is None
        """Whether pages have no language besides."""
        self._recall_allowed = lru_cache(_MAX_REMEMBERED)(self._allows)
        self._places: dict[tuple[str, str, str], bytes] = {}
        """The keys of those that Django would take requests for, as far as they are remembered."""
        self.visited: dict[tuple[str, str], None] = {}
        """Schemes and hosts that requests came for, the first of them. For people who name a path alone."""
        self._remembered: dict[Address, bytes] = {}
        self.remembered: Callable[[Address], bytes | None] = self._remembered.get
        """The key of an address, as far as it is remembered."""
        # Most addresses never come again: those that come a second time are remembered.
        self._seen: dict[int, None] = {}

    def allows(self, host: str) -> bool:
        """Whether Django would take a request for this host."""
        return self._recall_allowed(host) if len(host) <= _MAX_REMEMBERED_CHARS else self._allows(host)

    def _allows(self, host: str) -> bool:
        domain, _ = split_domain_port(host)
        return bool(domain) and validate_host(domain, self._allowed_hosts)

    def _place(self, scheme: str, host: str, language: str) -> bytes | None:
        if not self.allows(host):
            return None
        place = self.keys.place(scheme, host, language)
        if len(host) <= _MAX_REMEMBERED_CHARS:
            if len(self.visited) < _MAX_VISITED:
                self.visited[scheme, host] = None
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            self._places[scheme, host, language] = place
        return place

    def known(self, address: Address) -> bytes | None:
        """The key of an address; None for a host that is not allowed. To be asked where remembered() has none."""
        scheme, host, path, query, language = address
        place = self._places.get((scheme, host, language))
        if place is None:
            place = self._place(scheme, host, language)
            if place is None:
                return None
        primary = self.keys.unplaced(path, query) + place
        number, seen = hash(address), self._seen
        if number not in seen:
            # To begin anew costs less each time than to find the oldest.
            if len(seen) >= _MAX_SEEN:
                seen.clear()
            seen[number] = None
        elif len(host) + len(path) + len(query) <= _MAX_REMEMBERED_CHARS:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[address] = primary
        return primary

    def script(self, environ: Mapping[str, Any]) -> str:
        """Where the application is mounted, as Django has it."""
        return environ.get("SCRIPT_NAME", "") if self._script is None else self._script

    def host(self, environ: Mapping[str, Any], scheme: str) -> str:
        """The host as HttpRequest.get_host() gives it, which has yet to be allowed."""
        if self._forwarded_host and "HTTP_X_FORWARDED_HOST" in environ:
            return str(environ["HTTP_X_FORWARDED_HOST"])
        if "HTTP_HOST" in environ:
            return str(environ["HTTP_HOST"])
        port = environ.get("SERVER_PORT", "")
        if self._forwarded_port and "HTTP_X_FORWARDED_PORT" in environ:
            port = environ["HTTP_X_FORWARDED_PORT"]
        name = str(environ.get("SERVER_NAME", ""))
        return name if str(port) == ("443" if scheme == "https" else "80") else f"{name}:{port}"

    def scheme(self, environ: Mapping[str, Any]) -> str:
        """The scheme as HttpRequest.scheme gives it."""
        if self._secure_header:
            name, secure = self._secure_header
            value = environ.get(name)
            if value is not None:
                return "https" if value.partition(",")[0].strip() == secure else "http"
        return str(environ.get("wsgi.url_scheme", "http"))

    def request(self, environ: Mapping[str, Any]) -> Request:
        """The request in an environ that Django has not touched yet."""
        scheme = self.scheme(environ)
        if self._script is not None:
            environ = {**environ, "SCRIPT_NAME": self._script}
        return Request.from_environ(environ, scheme=scheme, host=self.host(environ, scheme))

    def is_excluded(self, path: str, script: int = 0) -> bool:
        """Whether nothing below this path is ever kept. So many characters of it are of where the site is mounted."""
        if self._admin is None:
            self._admin = admin_paths(self.languages)
        return path.startswith(self.excluded) or path.startswith(self._admin, script)

    @property
    def usual_host(self) -> str:
        """A host that the site has, for addresses that name none; empty where the settings do not say."""
        named = [host for host in self._allowed_hosts if not host.startswith((".", "*"))]
        return named[0] if named else "localhost" if "*" in self._allowed_hosts else ""

    def places(self) -> list[tuple[str, str]]:
        """Where a path that is named alone may be meant: schemes and hosts, what is more likely first."""
        usual = self.usual_host
        visited = sorted(self.visited, key=lambda place: split_domain_port(place[1])[0] != usual)
        return visited or [("http", usual)]

    def forwarding(self) -> tuple[str, ...]:
        """The environ keys by which a proxy tells the scheme and the host."""
        names = ["HTTP_HOST"]
        if self._forwarded_host:
            names.append("HTTP_X_FORWARDED_HOST")
        if self._forwarded_port:
            names.append("HTTP_X_FORWARDED_PORT")
        if self._secure_header:
            names.append(self._secure_header[0])
        return tuple(names)


def rules_of(values: CacheSettings) -> Rules:
    """The settings as the policy's rules have them."""
    return Rules(
        targets=tuple(name.lower() for name in values.targets),
        request_directives=values.request_directives,
        heuristic=values.heuristic,
        heuristic_fraction=values.heuristic_fraction,
        heuristic_max_s=values.heuristic_max_s,
        store_no_cache=values.store_no_cache,
        s_maxage_forbids_stale=values.s_maxage_forbids_stale,
        swr_s=values.swr_s,
        sie_s=values.sie_s,
        keep_s=values.keep_s,
        max_lifetime_s=values.max_lifetime_s,
        max_body_bytes=values.max_body_bytes,
        max_head_bytes=values.max_head_bytes,
        private_cookies=frozenset({settings.SESSION_COOKIE_NAME, *values.private_cookies}),
        bypass_cookies=frozenset({"messages", *values.bypass_cookies}),
    )


def secret() -> bytes:
    """What values of requests are digested with: the same in all processes of the project."""
    try:
        known = settings.SECRET_KEY
    except ImproperlyConfigured:  # Django works without it as long as nobody asks.
        return os.urandom(32)
    return hashlib.sha256(b"django_wsgiperf.cache\0" + force_bytes(known)).digest()


def admin_paths(languages: Iterable[str] = ()) -> tuple[str, ...]:
    """Where the admin is, below where the site is mounted, as PEP 3333 has paths: a project may have several, and each
    of them an address for each language."""
    from django.apps import apps
    from django.urls import NoReverseMatch, get_resolver, get_script_prefix, reverse
    from django.utils import translation

    if not apps.is_installed("django.contrib.admin"):
        return ()
    from django.contrib.admin.sites import all_sites

    # They may be made where the addresses are.
    _ = get_resolver().url_patterns
    names = sorted({site.name for site in all_sites})
    paths = []
    for language in languages or (translation.get_language(),):
        with translation.override(language):
            for name in names:
                try:
                    # By the kind and the name, since the name alone may be an application's as well.
                    path = reverse("admin:index", current_app=name)
                except NoReverseMatch:
                    continue
                paths.append("/" + unquote_to_bytes(path.removeprefix(get_script_prefix())).decode("latin-1"))
    return tuple(dict.fromkeys(paths))


def uses_locale_middleware() -> bool:
    """Whether LocaleMiddleware, or a kind of it, chooses the language of each request."""
    if not settings.USE_I18N:
        return False
    if _LOCALE in settings.MIDDLEWARE:
        return True
    from django.middleware.locale import LocaleMiddleware

    for dotted in settings.MIDDLEWARE:
        if dotted.startswith(("django.", "django_wsgiperf.")):
            continue
        try:
            found = import_string(dotted)
        except ImportError:  # Django says so itself.
            continue
        if isinstance(found, type) and issubclass(found, LocaleMiddleware):
            return True
    return False


def language_chooser() -> Language:
    """What LocaleMiddleware will choose, by Django's own functions."""
    from django.conf.urls.i18n import is_language_prefix_patterns_used
    from django.http import HttpRequest, parse_cookie
    from django.utils import translation

    @lru_cache(_MAX_REMEMBERED)
    def negotiate(cookie: str | None, accepted: str | None) -> str:
        request = HttpRequest()
        if cookie is not None:
            request.COOKIES = {settings.LANGUAGE_COOKIE_NAME: parse_cookie(f"language={cookie}")["language"]}
        if accepted is not None:
            request.META["HTTP_ACCEPT_LANGUAGE"] = accepted
        return translation.get_language_from_request(request)

    def choose(path: str, cookie: str | None, accepted: str | None) -> str:
        prefixed, prefixes_default = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
        if prefixed:
            found = translation.get_language_from_path(path)
            if found:
                return found
            if not prefixes_default:
                return str(settings.LANGUAGE_CODE)
        if len(cookie or "") + len(accepted or "") > _MAX_REMEMBERED_CHARS:
            return negotiate.__wrapped__(cookie, accepted)
        return negotiate(cookie, accepted)

    return choose
