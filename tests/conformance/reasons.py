"""Why our cache does not pass certain tests of the suite: what was looked into, and is meant to be so.

A test that is not here, required and not passed, is a fault until it is understood.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """`tests`: ids, in which `*` stands for any characters."""

    title: str
    why: str
    tests: tuple[str, ...]

    def covers(self, test: str) -> bool:
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.tests)


REASONS = (
    Reason(
        "Age is read as RFC 9111 has it",
        "The suite's release is older than RFC 9111, 5.1: of several values the first counts, and what is no number is "
        "ignored. The suite has asked for just this since then.",
        (
            *("age-parse-nonnumeric", "age-parse-negative", "age-parse-float", "age-parse-prefix-twoline"),
            *("age-parse-dup-0", "age-parse-dup-0-twoline", "age-parse-dup-old"),
            *("age-parse-parameter", "age-parse-numeric-parameter"),
        ),
    ),
    Reason(
        "Nothing that sets a cookie is kept",
        "A cookie is one visitor's, so no response with Set-Cookie is given to another.",
        (
            *("headers-store-Set-Cookie", "headers-store-Set-Cookie2", "other-set-cookie"),
            *("304-etag-update-response-Set-Cookie", "304-etag-update-response-Set-Cookie2"),
        ),
    ),
    Reason(
        "A 304 about another ETag is not believed",
        "Such a 304 may update nothing (RFC 9111, 4.3.4), so the page is asked for again without conditions, which the "
        "suite's server does not expect.",
        ("304-etag-update-response-ETag",),
    ),
    Reason(
        "A stale page covers an error only where it is allowed to",
        "The tests rest on one that wants a stale page when the origin hangs up. That takes stale-if-error, in the "
        "response or as SIE_S; and must-revalidate, proxy-revalidate, no-cache and s-maxage forbid it.",
        ("stale-close-*",),
    ),
    Reason(
        "Surrogate-Control is one field of many",
        "TARGETS takes it in, and reads it as a structured field (RFC 9213), in which no name is in capitals. The "
        "standard is CDN-Cache-Control, which the suite's later versions test in its place.",
        ("surrogate-*",),
    ),
    Reason(
        "Nothing is kept without a lifetime of its own",
        "HEURISTIC guesses one of Last-Modified.",
        ("heuristic-*-cached",),
    ),
    Reason(
        "What says no-cache is not kept",
        "STORE_NO_CACHE keeps it, to be asked about each time.",
        ("cc-resp-no-cache-revalidate", "cc-resp-no-cache-revalidate-fresh"),
    ),
    Reason(
        "Parts of pages are not kept",
        "Ranges are cut out of whole pages that are kept; a 206 of a view's is passed on.",
        ("partial-store-partial-*",),
    ),
    Reason("Answers to POST are not kept", "They would answer only GET and HEAD anyway.", ("method-POST",)),
    Reason(
        "Fields are one only where that is sure",
        "Of languages with one weight Django and others take the first, so that their order counts. Which language a "
        "page is in does not tell what another wish would have given. And blanks may mean something in a field that "
        "nobody knows.",
        ("vary-normalise-lang-order", "vary-normalise-lang-select", "vary-normalise-space"),
    ),
    Reason(
        "A page without Last-Modified is as old as its Date",
        "RFC 9111, 4.3.2: a client that asks for what is newer than an hour before that gets the page.",
        ("conditional-lm-fresh-no-lm",),
    ),
)


def of(test: str) -> Reason | None:
    """The reason that covers the test, if any does."""
    return next((reason for reason in REASONS if reason.covers(test)), None)
