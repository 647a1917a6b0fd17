"""A response's head as the rules read it: its fields by name, and the directives that count among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django_wsgiperf.cache.headers import Directives, parse_cache_control, parse_date, parse_etag, parse_targeted
from django_wsgiperf.cache.messages import Headers, index

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
