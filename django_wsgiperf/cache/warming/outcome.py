"""What a page's answer says about the cache: warmed, there already, refused and why, or not an answer worth keeping."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import http_sf

from .client import Answer

CACHE: Final = "wsgiperf"
"""Our member of Cache-Status (RFC 9211)."""


class Outcome(StrEnum):
    """What became of a page."""

    WARMED = "warmed"
    """It was made, and is stored now."""
    ALREADY = "already"
    """It was stored before."""
    REFUSED = "refused"
    """It is not stored; Cache-Status says why."""
    UNTOLD = "untold"
    """There was no word of ours in Cache-Status."""
    FAILED = "failed"
    """No answer, or an error."""


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome and a word on it: the reason of a refusal, the status of an error."""

    outcome: Outcome
    why: str = ""


def read(answer: Answer) -> Told:
    """What an answer says of itself."""
    if answer.status >= 400:
        return Told(Outcome.FAILED, f"{answer.status} {answer.reason}".strip())
    said = _own_member(answer.fields.get("cache-status", ""))
    if said is None:
        return Told(Outcome.UNTOLD)
    if said.get("hit"):
        return Told(Outcome.ALREADY)
    if said.get("stored") or said.get("collapsed"):
        return Told(Outcome.WARMED)
    return Told(Outcome.REFUSED, str(said.get("detail") or said.get("fwd") or "no reason given"))


def _own_member(value: str) -> dict[str, Any] | None:
    """The parameters of our member of Cache-Status; of the last, since each cache on the way adds one at the end."""
    try:
        members: Any = http_sf.parse(value.encode("latin-1"), tltype="list")
    except (http_sf.StructuredFieldError, UnicodeEncodeError, ValueError, RecursionError):
        return None
    own = None
    for member in members:
        if isinstance(member, tuple) and str(member[0]) == CACHE:
            own = dict(member[1])
    return own
