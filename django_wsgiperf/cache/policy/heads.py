"""What was decided of one response holds for all that have the same head: so it is remembered, and decided once.

The responses of a route mostly differ in a few fields that hardly ever have a say, and in their bodies. Where one of
these has a say, or the time has, nothing is remembered. Nothing here knows a rule: refusing.py and storing.py do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django_wsgiperf.cache.entry import MUST_VALIDATE, NO_TRANSFORM, WITHOUT_BODY
from django_wsgiperf.cache.messages import NO_ANNOTATION, Annotation, Headers, Request, Response

from .reading import Reading, read
from .reasons import Reason
from .refusing import refused_by_head
from .rules import HEURISTIC_STATUSES, Rules
from .storing import NEVER_STORED, Decision, plan

Pairs = tuple[tuple[str, str], ...]

_LENGTH: Final = "Content-Length"
_LENGTH_CHARS: Final = len(_LENGTH) + 4
_UNSTORED: Final = frozenset({"X-Request-ID", "Server-Timing"})
_VALIDATORS: Final = frozenset({"ETag", "Last-Modified"})
_VARYING: Final = frozenset({_LENGTH, "Expires"}) | _VALIDATORS | _UNSTORED
"""Fields, as they are mostly spelled, whose values differ among responses that are alike otherwise."""
_NEVER_REMEMBERED: Final = frozenset(
    {
        # Each of its own moment, or for the shelf to know.
        *("date", "age", "no-vary-search"),
        # What sets fields apart by their names.
        "connection",
        *(name.lower() for name in _VARYING),
    }
)
_MAX_HEADS: Final = 512
_MAX_CHARS: Final = 4_096

_ASKED: Final = Request("GET", "http", "", "/", "", {})


@dataclass(slots=True)
class Judgement:
    """Of all responses with one head. Nobody changes it."""

    reason: Reason | None
    """Why they are not stored; None where nothing in their heads is against it."""
    unless: frozenset[str]
    """Not of those that have one of these fields besides."""
    decision: Decision
    """What follows where they are stored. Its `headers` are none, its age is 0, its tags are the groups alone."""
    unstored: frozenset[str]
    """Fields, as they are spelled, that are not kept."""
    encoding: str | None
    is_offered: bool
    """Whether their bodies are offered in content codings, if they are large enough."""
    has_vary: bool
    chars: int
    """Of what they have in common, with four for each line."""
    common: Pairs = ()
    """That itself."""
    is_shared: bool = True
    """Whether others may have them without asking the application."""

    def whole(self, at: int, body_bytes: int) -> list[tuple[str, str]]:
        """The head that has besides only the length of its body, on this line; a negative one where not even that."""
        pairs = list(self.common)
        if at >= 0:
            pairs.insert(at, (_LENGTH, str(body_bytes)))
        return pairs


@dataclass(slots=True)
class Known:
    """A response whose head is known: the judgement, and in what it differs from the others. Nobody changes it."""

    judgement: Judgement
    varying: Mapping[str, str]
    """None of it where `at` tells it."""
    at: int | None = None
    """Where it differs from others in no more than the length of its body, and all of it is kept: on which line that
    is, negative where on none. Else None."""

    def chars(self, headers: Sequence[tuple[str, str]], body_bytes: int, rules: Rules) -> int:
        """The characters of its head, with four for each line; fewer than none where anything is against its
        form, as refused_by_form() has it."""
        chars, at = self.judgement.chars, self.at
        if at is None:
            for name, value in self.varying.items():
                if name == _LENGTH:
                    if value != str(body_bytes):
                        return -1
                elif not value.isprintable():
                    return -1
                chars += len(name) + len(value) + 4
        elif at >= 0:
            value = headers[at][1]
            if value != str(body_bytes):
                return -1
            chars += _LENGTH_CHARS + len(value)
        return chars if body_bytes <= rules.max_body_bytes and chars <= rules.max_head_bytes else -1

    def stored(self, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """What of its head is kept, but for Date."""
        unstored = self.judgement.unstored
        if unstored is _UNSTORED and unstored.isdisjoint(self.varying):
            return list(headers)
        return [pair for pair in headers if pair[0] not in unstored]


class Heads:
    """At most 512 heads. Threads that race decide the same; when there are too many it begins anew."""

    __slots__ = ("_common", "_is_worthwhile", "_judgements", "_rules", "_seen")

    def __init__(self, rules: Rules, is_worthwhile: Callable[[Headers], bool]) -> None:
        self._rules = rules
        self._is_worthwhile = is_worthwhile
        """Whether a body with such a head gains by a content coding."""
        self._judgements: dict[Any, Judgement | None] = {}
        # Most differ from others in no more than the length of their bodies: by all their names and the other values.
        self._common: dict[Any, Known] = {}
        # Heads that never come again, with a nonce or a cookie, are not worth to be judged for others.
        self._seen: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._judgements)

    def known(
        self, status: int, headers: Sequence[tuple[str, str]], private: bool, cookies: str, annotation: Annotation
    ) -> Known | None:
        """What is known of the answer, without signals, to a plain GET with these cookies; None where it has to be
        judged by itself. `private`: it has one of `private_cookies`."""
        try:
            fields = dict(headers)
            names = tuple(fields)
            fields.pop(_LENGTH, None)
            # As many lines as names, else two have one name.
            usual: Any = (status, private, len(headers), names, tuple(fields.values()))
            if annotation is not NO_ANNOTATION:
                usual = (usual, *_choices(annotation))
            known = self._common.get(usual)
        except (TypeError, ValueError):  # Not PEP 3333.
            return None
        if known is not None:
            return known
        known = self._known(status, headers, private, cookies, annotation)
        if known is not None and known.at is not None and len(fields) + (known.at >= 0) == len(headers):
            if len(self._common) >= _MAX_HEADS:
                self._common.clear()
            self._common[usual] = Known(known.judgement, {}, known.at)
        return known

    def _known(
        self, status: int, headers: Sequence[tuple[str, str]], private: bool, cookies: str, annotation: Annotation
    ) -> Known | None:
        alike: list[tuple[str, str]] = []
        varying: dict[str, str] = {}
        at: int | None = -1
        for pair in headers:
            name = pair[0]
            if name not in _VARYING:
                alike.append(pair)
                continue
            at = len(alike) if name == _LENGTH and not varying else None
            varying[name] = pair[1]
        common = tuple(alike)
        key: Any = (status, private, common)
        if annotation is not NO_ANNOTATION:
            key = (*key, *_choices(annotation))
        try:
            judgement = self._judgements.get(key)
        except TypeError:  # Not quite PEP 3333: fields as lists.
            return None
        if judgement is None:
            if key in self._judgements or not self._is_seen(key, common):
                return None
            judgement = self._judge(status, common, cookies, annotation)
            if len(self._judgements) >= _MAX_HEADS:
                self._judgements.clear()
            self._judgements[key] = judgement
            if judgement is None:
                return None
        if at is None and len(common) + len(varying) != len(headers):
            return None
        if judgement.unless and not judgement.unless.isdisjoint(varying):
            return None
        return Known(judgement, varying, at if judgement.unstored is _UNSTORED else None)

    def _is_seen(self, key: Any, common: Pairs) -> bool:
        """Whether there was such a head before."""
        number = hash(key)
        if number in self._seen:
            return sum(len(name) + len(value) for name, value in common) <= _MAX_CHARS
        if len(self._seen) >= _MAX_HEADS:
            self._seen.clear()
        self._seen[number] = None
        return False

    def _judge(self, status: int, common: Pairs, cookies: str, annotation: Annotation) -> Judgement | None:
        rules = self._rules
        if annotation.tags:
            annotation = replace(annotation, tags=())
        reading = read(common, rules)
        directives = reading.directives
        if rules.heuristic or not _NEVER_REMEMBERED.isdisjoint(reading.fields):
            return None
        if directives.private_fields or directives.no_cache_fields or not _is_printable(common):
            return None
        reason = refused_by_head(status, reading, cookies, rules, annotation=annotation)
        response = Response(status, "", common, None)
        decision = plan(_ASKED, response, reading, 0.0, rules=rules, annotation=annotation)
        if reason is None and not decision.store:
            return None
        decision.headers = ()
        unstored = [name for name, _ in common if name.lower() in NEVER_STORED]
        return Judgement(
            reason,
            self._unless(status, reading, annotation),
            decision,
            _UNSTORED.union(unstored) if unstored else _UNSTORED,
            reading.fields.get("content-encoding"),
            status not in WITHOUT_BODY and not decision.flags & NO_TRANSFORM and self._is_worthwhile(common),
            "vary" in reading.fields,
            sum(len(name) + len(value) + 4 for name, value in common),
            common,
            not decision.flags & MUST_VALIDATE and decision.lifetime_s > 0.0,
        )

    def _unless(self, status: int, reading: Reading, annotation: Annotation) -> frozenset[str]:
        """The fields that would have a say."""
        rules, directives = self._rules, reading.directives
        unless: set[str] = set()
        has_lifetime = annotation.lifetime_s is not None and status in HEURISTIC_STATUSES
        if not (
            has_lifetime
            or reading.targeted
            or directives.no_cache
            or directives.max_age is not None
            or directives.s_maxage is not None
        ):
            unless.add("Expires")
        if rules.keep_s > 0 or (annotation.keep_s or 0) > 0 or (directives.no_cache and rules.store_no_cache):
            unless |= _VALIDATORS
        return frozenset(unless)


def _choices(annotation: Annotation) -> tuple[Any, ...]:
    """What a view has said that has a say: all but its tags."""
    return (
        annotation.never,
        annotation.lifetime_s,
        annotation.swr_s,
        annotation.sie_s,
        annotation.keep_s,
        annotation.vary_cookies,
        annotation.raw_language,
    )


def _is_printable(common: Pairs) -> bool:
    return all(name.isprintable() and value.isprintable() for name, value in common)
