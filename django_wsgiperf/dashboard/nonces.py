"""The nonce of a Content-Security-Policy, where the project uses one: Django's own from 6.0 on, or django-csp's."""

from __future__ import annotations

from django.http import HttpRequest


def csp_nonce(request: HttpRequest | None) -> str:
    """The request's nonce; empty where there is none. Asking makes it a part of the policy."""
    if request is None:
        return ""
    nonce = getattr(request, "csp_nonce", None)
    if nonce is None:
        try:
            from django.middleware.csp import get_nonce  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            return ""
        nonce = get_nonce(request)
    # A lazy nonce is false until it is asked for its text.
    return "" if nonce is None else str(nonce)
