"""The name that a request is counted under: its route's template, never its path, which has no bound and may be secret.

`name_of` is the way in. A name has at most MAX_LENGTH characters, and is printable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest

logger = logging.getLogger("django_wsgiperf.metrics")

Namer = Callable[[HttpRequest], str | None]

MAX_LENGTH: Final = 200
_MAX_KNOWN: Final = 4096
METHODS: Final = {
    name: name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
OTHER_METHOD: Final = "_OTHER"

_SIGNS_OF_REGEX = re.compile(r"[\^$\\]|\(\?")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]")
# Bounded by _MAX_KNOWN, after which it begins anew; threads that race compute the same.
_known: dict[tuple[str | None, Any], str] = {}
plain: dict[str | None, str] = {}
"""The same for requests without a URLconf of their own, by the route alone: a look-up saves name_of()."""


def method_of(request: HttpRequest) -> str:
    """One of the nine methods of HTTP, or `_OTHER`: a client can send any word."""
    return METHODS.get(request.method or "", OTHER_METHOD)


def name_of(request: HttpRequest, status: int, namer: Namer | None = None) -> str:
    """The name that a request is counted under, once its response is there.

    What `request.wsgiperf.route` was set to, else what `namer` says (ROUTE_NAMER), else the template of the route:
    `/books/<int:pk>/`. Requests that reached no route are `(not found)`, `(redirect)`, `(bad request)` by their
    status, or `(middleware)`."""
    attributes = request.__dict__
    if "wsgiperf" in attributes and (route := attributes["wsgiperf"].route):
        return clean(route)
    if namer is not None and (named := _ask(namer, request)):
        return named
    match = request.resolver_match
    if match is None:
        return _without_route(status)
    urlconf = attributes.get("urlconf")
    key = match.route, urlconf
    name = _known.get(key)
    if name is None:
        name = template_of(*key)
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
            plain.clear()
        _known[key] = name
        if urlconf is None:
            plain[match.route] = name
    return name


def plain_names(namer: Namer | None) -> dict[str | None, str]:
    """Route -> name, of those that need no more than that."""
    return {} if namer is not None else plain


def template_of(route: str | None, urlconf: Any = None) -> str:
    """A resolver's route as a name: a slash before it, no marks of a regex, and `<lang>` for a language."""
    name = route or ""
    if _SIGNS_OF_REGEX.search(name):
        name = _plain(name)
    name = name.lstrip("/")
    language, slash, rest = name.partition("/")
    if slash and _is_language(language) and is_language_prefix_patterns_used(urlconf or settings.ROOT_URLCONF)[0]:
        name = f"<lang>/{rest}"
    return clean("/" + name)


def clean(name: object) -> str:
    """A name that others gave: bounded and printable."""
    return _UNPRINTABLE.sub("?", str(name)[:MAX_LENGTH])


@receiver(setting_changed, dispatch_uid="django_wsgiperf.metrics.routes")
def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting in ("ROOT_URLCONF", "LANGUAGES", "USE_I18N"):
        _known.clear()
        plain.clear()


def _without_route(status: int) -> str:
    if status == 404:
        return "(not found)"
    if status == 400:
        return "(bad request)"
    if 300 <= status < 400:
        return "(redirect)"
    return "(middleware)"


def _is_language(code: str) -> bool:
    return any(code.lower() == known.lower() for known, _ in settings.LANGUAGES)


def _ask(namer: Namer, request: HttpRequest) -> str:
    try:
        return clean(namer(request) or "")
    except Exception:
        logger.exception("ROUTE_NAMER %s failed; the request is named by its route", getattr(namer, "__name__", namer))
        return ""


def _plain(pattern: str) -> str:
    """A regular expression of re_path() with `<name>` for each group, and without what matches no character."""
    made: list[str] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "(":
            end = _end_of_group(pattern, at)
            made.append(_group(pattern[at:end]))
            at = end
        elif sign == "\\":
            following = pattern[at + 1 : at + 2]
            # \A, \b and their like are places; \d and \w stand for any such character; others are themselves.
            if following in ("d", "w", "s", "D", "W", "S"):
                made.append("<char>")
            elif following not in ("A", "Z", "b", "B"):
                made.append(following)
            at += 2
        else:
            if sign not in "^$?*+":
                made.append(sign)
            at += 1
    return "".join(made)


def _group(group: str) -> str:
    """What stands for a group, brackets included."""
    if named := re.match(r"\(\?P<(\w+)>", group):
        return f"<{named[1]}>"
    if group.startswith("(?:"):
        return _plain(group[3:-1])
    return "" if group.startswith("(?") else "<arg>"


def _end_of_group(pattern: str, begin: int) -> int:
    """Behind the bracket that closes the one at `begin`. Those in character classes, and escaped ones, do not count."""
    depth, at, in_class = 0, begin, False
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\":
            at += 1
        elif in_class:
            in_class = sign != "]"
        elif sign == "[":
            in_class = True
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return len(pattern)
