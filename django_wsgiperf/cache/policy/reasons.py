"""Why the cache did what it did: `detail` and `fwd` of Cache-Status (RFC 9211), and the names of counters."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a stored response was not used, or a response not stored. Each is a token, fit for Cache-Status."""

    # As the text that it is: an Enum's own is a function, and they are counted at every miss.
    __hash__ = str.__hash__

    OK = "ok"
    # The request.
    HOST = "host"
    METHOD = "method"
    REQUEST_BODY = "request-body"
    PRECONDITION = "precondition"
    AUTHORIZATION = "authorization"
    BYPASS_COOKIE = "bypass-cookie"
    UPGRADE = "upgrade"
    REQUEST_NO_STORE = "request-no-store"
    REQUEST_NO_CACHE = "request-no-cache"
    REQUEST_MAX_AGE = "request-max-age"
    REQUEST_MIN_FRESH = "request-min-fresh"
    ONLY_IF_CACHED = "only-if-cached"
    # How the response was made.
    NEVER = "never"
    EXCLUDED = "excluded"
    DEBUG = "debug"
    FAILED = "failed"
    STREAMING = "streaming"
    CSRF = "csrf"
    SESSION = "session"
    MESSAGES = "messages"
    CSP_NONCE = "csp-nonce"
    TIME_ZONE = "time-zone"
    LANGUAGE = "language"
    # The response itself.
    STATUS = "status"
    PARTIAL = "partial"
    NOT_MODIFIED = "not-modified"
    NOT_UNDERSTOOD = "not-understood"
    SET_COOKIE = "set-cookie"
    NO_STORE = "no-store"
    PRIVATE = "private"
    NO_CACHE = "no-cache"
    VARY_STAR = "vary-star"
    VARY_TOO_WIDE = "vary-too-wide"
    PRIVATE_COOKIE = "private-cookie"
    UNKNOWN_CODING = "unknown-coding"
    NO_FRESHNESS = "no-freshness"
    EXPIRED = "expired"
    BODY_TOO_LARGE = "body-too-large"
    HEAD_TOO_LARGE = "head-too-large"
    TOO_MANY_TAGS = "too-many-tags"
    LENGTH_MISMATCH = "length-mismatch"
    MALFORMED = "malformed"
    # The stored response.
    STALE = "stale"
    PURGED = "purged"
    MUST_VALIDATE = "must-validate"
    UNMATCHED = "unmatched"


class Forward(StrEnum):
    """Why a request went to the application (RFC 9211, 2.2)."""

    __hash__ = str.__hash__

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    MISS = "miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"
