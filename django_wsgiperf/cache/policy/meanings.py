"""What each reason in Cache-Status means, in a sentence, and what to do about it; for the command, the admin page
and the docs."""

from __future__ import annotations

from typing import Final, NamedTuple

from .reasons import Reason


class Meaning(NamedTuple):
    """`what` happened, and what to `do` if a stored page was wanted; empty where there is nothing to do."""

    what: str
    do: str = ""


MEANINGS: Final[dict[Reason, Meaning]] = {
    Reason.OK: Meaning("nothing stands against it"),
    # The request.
    Reason.HOST: Meaning("Django does not serve this host", "add it to ALLOWED_HOSTS, if it is yours"),
    Reason.METHOD: Meaning("only GET is kept, and only GET and HEAD are answered from what is kept"),
    Reason.REQUEST_BODY: Meaning("the request has a body, which the view might read"),
    Reason.PRECONDITION: Meaning("If-Match and If-Unmodified-Since are for the view to judge"),
    Reason.AUTHORIZATION: Meaning(
        "the request has credentials in Authorization",
        "if the page is the same for everybody, send Cache-Control: public with it",
    ),
    Reason.BYPASS_COOKIE: Meaning(
        "the request has a cookie that goes past the cache: of the messages, of BYPASS_COOKIES, or with an odd name",
    ),
    Reason.UPGRADE: Meaning("the request wants another protocol, or an answer before its body"),
    Reason.REQUEST_NO_STORE: Meaning("the client said no-store, and REQUEST_DIRECTIVES is on"),
    Reason.REQUEST_NO_CACHE: Meaning("the client said no-cache (a forced reload), and REQUEST_DIRECTIVES is on"),
    Reason.REQUEST_MAX_AGE: Meaning("the client wants a younger page, and REQUEST_DIRECTIVES is on"),
    Reason.REQUEST_MIN_FRESH: Meaning("the client wants a page that stays fresh for longer; REQUEST_DIRECTIVES is on"),
    Reason.ONLY_IF_CACHED: Meaning("the client wanted a stored page only, and there is none"),
    # How the response was made.
    Reason.NEVER: Meaning("the view said so, by never_cache_response or request.wsgiperf.cache.never()"),
    Reason.EXCLUDED: Meaning("the path is below the admin or one of EXCLUDE"),
    Reason.DEBUG: Meaning("it is a page for developers", "set DEBUG = False"),
    Reason.FAILED: Meaning("the view or a middleware raised an exception"),
    Reason.STREAMING: Meaning("it is a stream or a file, whose body is not known as a whole"),
    Reason.CSRF: Meaning(
        "the page holds a CSRF token, which is one visitor's",
        "fetch the form, or its token, by a request of its own",
    ),
    Reason.SESSION: Meaning(
        "the view used the session, or somebody is logged in, so the page may be one visitor's",
        "do not touch request.session, request.user or the messages in views and templates that are for everybody",
    ),
    Reason.MESSAGES: Meaning("the page shows messages to one visitor"),
    Reason.CSP_NONCE: Meaning(
        "the page holds a nonce of Content-Security-Policy, which is good for one response",
        "use hashes instead of nonces on pages that are to be kept",
    ),
    Reason.TIME_ZONE: Meaning(
        "another time zone than TIME_ZONE was active",
        "if the page shows no times, set TIME_ZONES",
    ),
    Reason.LANGUAGE: Meaning(
        "it is in another language than LocaleMiddleware chooses by path, cookie and Accept-Language",
        "choose the language by one of these, or by the host",
    ),
    # The response itself.
    Reason.STATUS: Meaning("its status is none that can be kept"),
    Reason.PARTIAL: Meaning("it is a part of a page (206), or says that there is no such part (416)"),
    Reason.NOT_MODIFIED: Meaning("it says that what the client has is up to date (304)"),
    Reason.NOT_UNDERSTOOD: Meaning("must-understand, and the cache does not know the status"),
    Reason.SET_COOKIE: Meaning(
        "the response sets a cookie, which is one visitor's",
        "set cookies on other pages; middleware and analytics often set them unasked",
    ),
    Reason.NO_STORE: Meaning("the response says no-store", "never_cache and add_never_cache_headers say so"),
    Reason.PRIVATE: Meaning("the response says private"),
    Reason.NO_CACHE: Meaning("the response says no-cache", "STORE_NO_CACHE keeps those with an ETag, to ask about"),
    Reason.VARY_STAR: Meaning("Vary: * says that no two requests are alike"),
    Reason.VARY_TOO_WIDE: Meaning("Vary names more fields than can be told apart"),
    Reason.PRIVATE_COOKIE: Meaning(
        "the response says Vary: Cookie, and the request has a session",
        "if it depends on certain cookies only, name them: cache_response(vary_cookies=[...])",
    ),
    Reason.UNKNOWN_CODING: Meaning(
        "its Content-Encoding is not one that clients are told apart by, or that this one reads"
    ),
    Reason.NO_FRESHNESS: Meaning(
        "nothing says how long it may be kept",
        "use cache_response(ttl=...), cache_page, or Cache-Control: max-age",
    ),
    Reason.EXPIRED: Meaning("its lifetime is over already: max-age=0, or Expires in the past"),
    Reason.BODY_TOO_LARGE: Meaning("its body is larger than MAX_BODY_BYTES"),
    Reason.HEAD_TOO_LARGE: Meaning("its head is larger than MAX_HEAD_BYTES"),
    Reason.TOO_MANY_TAGS: Meaning(
        "it has more than 1,000 tags, and could not be purged by all of them",
        "give it one tag for all of them, such as books in place of each book:7",
    ),
    Reason.LENGTH_MISMATCH: Meaning("its body is not as long as its Content-Length says"),
    Reason.MALFORMED: Meaning("its head is not well-formed"),
    # The stored response.
    Reason.STALE: Meaning("what is stored is past its lifetime"),
    Reason.PURGED: Meaning("what is stored was purged"),
    Reason.MUST_VALIDATE: Meaning("what is stored is asked about each time (no-cache)"),
    Reason.UNMATCHED: Meaning("what is stored is for other requests, by its Vary"),
}


def meaning(reason: str) -> Meaning:
    """Of a reason as Cache-Status and the counters have it; of an unknown one, nothing."""
    try:
        return MEANINGS[Reason(reason)]
    except (ValueError, KeyError):
        return Meaning("")
