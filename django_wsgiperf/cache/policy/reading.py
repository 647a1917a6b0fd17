"""A response's head as the rules read it: fields by name, the directives that count among them, what it varies by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django_wsgiperf.cache.headers import (
    Directives,
    parse_cache_control,
    parse_date,
    parse_etag,
    parse_targeted,
    parse_vary,
)
from django_wsgiperf.cache.headers.lists import EVERYTHING
from django_wsgiperf.cache.messages import Annotation, Headers, index
from django_wsgiperf.cache.normalise import COOKIE, RAW_LANGUAGE

from .rules import Rules


@dataclass(slots=True)
class Reading:
    """What a head says. Nobody changes it."""

    fields: Mapping[str, str]
    """Name in lower case -> value, several lines joined by commas."""
    directives: Directives
    targeted: bool
    """Whether they are of a targeted field, beside which Cache-Control and Expires mean nothing (RFC 9213, 2.2)."""

    @property
    def etag(self) -> str | None:
        """The entity tag, None where there is none or it is malformed."""
        return parse_etag(self.fields.get("etag"))

    def date(self, name: str, now: float) -> float | None:
        """A field that is an HTTP-date, in unix seconds; None where there is none or it is malformed."""
        value = self.fields.get(name)
        return None if value is None else parse_date(value, now)


def read(headers: Headers, rules: Rules) -> Reading:
    """What the head says to this cache: the first valid targeted field counts, else Cache-Control."""
    fields = index(headers)
    for name in rules.targets:
        value = fields.get(name)
        if value is not None:
            directives = parse_targeted(value)
            if directives is not None:
                return Reading(fields, directives, True)
    return Reading(fields, parse_cache_control(fields.get("cache-control", "")), False)


def nominated_fields(reading: Reading, annotation: Annotation) -> tuple[str, ...]:
    """The fields of Vary, and in place of Cookie the cookies that the view says it depends on, as key.py has them, and
    of Accept-Language what it is sent as, where the view says so."""
    value = reading.fields.get("vary")
    vary = () if value is None else parse_vary(value)
    if vary == EVERYTHING:
        return vary
    if value is not None and "_" in value:
        # To an application they are one field (PEP 3333), however its name is spelled in Vary.
        vary = tuple(sorted({name.replace("_", "-") for name in vary}))
    if annotation.raw_language:
        vary = tuple(sorted({RAW_LANGUAGE}.union(vary) - {"accept-language"}))
    if annotation.vary_cookies is None:
        return vary
    cookies = {f"{COOKIE}{name}" for name in annotation.vary_cookies}
    return tuple(sorted(cookies.union(vary) - {"cookie"}))
