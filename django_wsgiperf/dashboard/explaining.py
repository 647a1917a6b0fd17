"""What the response cache says of one address, in words: whether it is kept, for how long, and why not.

Reads Engine.explain() (cache/inspection.py) as a process told it. Keys that are missing are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from django_wsgiperf.cache.policy.meanings import meaning

from . import formats
from .numbers import integer, mapping, number


def rows(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Labels and texts, those that matter most first."""
    if not told:
        return []
    if "error" in told:
        return [(_("Error"), str(told["error"]))]
    entry = mapping(told, "entry")
    found = [(_("Address"), str(told.get("url", "")))]
    if told.get("stored"):
        found += [(_("Kept"), _("yes")), (_("A request gets"), str(told.get("would", "")))]
        found += [(_("Because"), why) for why in _because(mapping(told, "freshness"))]
        found += _facts(entry)
    else:
        found += [(_("Kept"), _("no")), *((_("Because"), why) for why in _why_not(told))]
    variants = told.get("variants")
    if isinstance(variants, Sequence) and variants:
        found.append((_("Variants"), "; ".join(_variant(mapping(each, "vary")) for each in variants)))
    return found


def _facts(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield _("Age"), formats.duration(number(entry.get("age_s")))
    yield _("Fresh for"), formats.duration(number(entry.get("ttl_s")))
    after = (
        ("swr_s", _("Stale, while a new one is made")),
        ("sie_s", _("Stale, if the page fails")),
        ("keep_s", _("Kept to be asked about")),
    )
    for key, label in after:
        if entry.get(key):
            yield label, formats.duration(number(entry[key]))
    yield _("Answer"), f"{integer(entry.get('status'))}, {formats.size(integer(entry.get('body_bytes')))}"
    codings = mapping(entry, "codings")
    if codings:
        yield _("Encoded"), ", ".join(f"{name} {formats.size(integer(size))}" for name, size in codings.items())
    yield _("Made in"), formats.duration(number(entry.get("render_ms")) / 1000)
    yield _("Hits"), formats.number(integer(entry.get("hits")))
    if entry.get("route"):
        yield _("Route"), str(entry["route"])
    tags = entry.get("tags")
    if isinstance(tags, Sequence) and tags:
        yield _("Tags"), ", ".join(map(str, tags))


def _because(freshness: Mapping[str, Any]) -> Iterator[str]:
    """What speaks against the page that is kept."""
    purged = str(freshness.get("purged", "valid"))
    if purged != "valid":
        yield meaning("purged").what
    elif str(freshness.get("reason", "ok")) != "ok":
        yield _sentence(str(freshness["reason"]))


def _why_not(told: Mapping[str, Any]) -> Iterator[str]:
    """All that is known against it, or that nothing is."""
    reasons = [
        "" if told.get("host_allowed", True) else "host",
        "excluded" if told.get("excluded") else "",
        str(mapping(told, "request").get("reason", "ok")),
        str(told.get("last_refusal") or ""),
    ]
    known = [reason for reason in dict.fromkeys(reasons) if reason not in ("", "ok")]
    yield from map(_sentence, known)
    if told.get("variants"):
        yield _("Kept for other requests only, which differ in what it varies by.")
    elif not known:
        yield _("Nobody has asked for it yet, or its answer was not kept.")


def _sentence(reason: str) -> str:
    what, do = meaning(reason)
    text = f"{reason}: {what}" if what else reason
    return f"{text}; {do}" if do else text


def _variant(vary: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {formats.NOTHING if value is None else value}" for name, value in vary.items())
