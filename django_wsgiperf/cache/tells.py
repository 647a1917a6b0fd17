"""What a request that Django has answered tells of its page, beside the response: whose it is, and by which route.

Reads the request and its environ after the view; changes neither. What is found here forbids to keep the page
(messages.Signals), and every doubt does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import LazyObject, empty

from django_wsgiperf.metrics.routes import name_of, plain
from django_wsgiperf.request_state import NAME, RECORD

from .messages import NO_SIGNALS, Signals

FAILED: Final = "wsgiperf.failed"
_DEBUG_STATUSES: Final = frozenset({400, 403, 404, 500})
"""Those that Django has pages for developers for."""


@receiver(got_request_exception, dispatch_uid="django_wsgiperf.cache")
def _note_exception(*, request: HttpRequest | None = None, **_: object) -> None:
    """The view, or a middleware, raised: what the client gets is made by nobody who knows of caching."""
    if request is not None:
        request.META[FAILED] = True


def signals_of(
    environ: Mapping[str, Any],
    request: HttpRequest | None,
    status: int,
    *,
    has_session: bool,
    time_zones: bool,
    language: str = "",
) -> Signals:
    """What forbids to keep the answer. `has_session`: the request came with a cookie that makes it somebody's;
    `time_zones`: pages do not depend on the active one; `language`: the one that the key has, empty if none."""
    failed = FAILED in environ
    csrf_used = "CSRF_COOKIE_NEEDS_UPDATE" in environ
    debug = status in _DEBUG_STATUSES and settings.DEBUG
    session_used = messages_shown = csp_nonce = elsewhere = False
    if request is not None:
        found = request.__dict__
        session = found.get("session")
        if session is not None:
            session_used = getattr(session, "modified", False) or (
                # Its key may have come by other means than the cookie.
                getattr(session, "accessed", False) and (has_session or bool(getattr(session, "session_key", None)))
            )
        # Credentials in Authorization have rules of their own (RFC 9111, 3.5).
        if not session_used and "user" in found and "HTTP_AUTHORIZATION" not in environ:
            session_used = _is_somebody(found["user"])
        messages = found.get("_messages")
        if messages is not None and getattr(messages, "used", False):
            messages_shown = len(messages) > 0
        nonce = found.get("_csp_nonce")
        if nonce is not None:
            # Made when it is first asked for; until then it is false, and nobody has it.
            csp_nonce = bool(nonce)
        if language:
            # Chosen by other means than the key knows: a middleware of the project's, a cookie that is read otherwise.
            spoken = found.get("LANGUAGE_CODE", "")
            elsewhere = bool(spoken) and spoken != language and str(spoken).lower() != language.lower()
    time_zone = not time_zones and _is_elsewhere()
    if not (failed or csrf_used or debug or session_used or messages_shown or csp_nonce or time_zone or elsewhere):
        return NO_SIGNALS
    return Signals(
        csrf_used=csrf_used,
        session_used=session_used,
        messages_shown=messages_shown,
        csp_nonce=csp_nonce,
        time_zone=time_zone,
        language=elsewhere,
        debug=debug,
        failed=failed,
    )


def _is_somebody(user: object) -> bool:
    """Whether the page was made for a user who is logged in. Who was not asked for yet is nobody."""
    if isinstance(user, LazyObject) and user.__dict__.get("_wrapped", empty) is empty:
        return False
    return bool(getattr(user, "is_authenticated", False))


def _is_elsewhere() -> bool:
    """Whether another time zone than the site's is active."""
    # Asking for one that was never set costs two exceptions; where it can be seen that none was, it is not asked for.
    holder = _time_zones()
    if holder is not None and holder.get(None) is None:
        return False
    active, usual = timezone.get_current_timezone(), timezone.get_default_timezone()
    return active is not usual and timezone.get_current_timezone_name() != timezone.get_default_timezone_name()


@cache
def _time_zones() -> ContextVar[Any] | None:
    """Where Django keeps the active time zones, as far as one can see."""
    holder = getattr(getattr(timezone._active, "_storage", None), "_data", None)  # type: ignore[attr-defined]
    return holder if isinstance(holder, ContextVar) else None


def route_of(request: HttpRequest | None, status: int) -> str:
    """The route that answered, as the metrics name it; empty where it is not known."""
    if request is None:
        return ""
    found = request.__dict__
    record = found.get(RECORD)
    if record is not None and record.route:
        # As the project's own function named it.
        return str(record.route)
    if NAME not in found and "urlconf" not in found and (match := request.resolver_match) is not None:
        name = plain.get(match.route)
        if name is not None:
            return name
    return name_of(request, status)
