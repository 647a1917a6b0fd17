"""What the cache of this process tells of itself: numbers, the largest pages, and why an address is or is not kept.

For people, metrics and the command line: plain data that fits into JSON. Changes nothing, but that a look into the
shared store puts what is found into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from .addresses import target_of
from .counting import Counters
from .held import Held
from .key import OPEN
from .messages import Request
from .policy import Target, Verdict, current_age, judge, may_look_up
from .tags import ADDRESS_MARK
from .tags import Verdict as Purged
from .variants import Variants

if TYPE_CHECKING:
    from .engine import Engine


def numbers(engine: Engine) -> dict[str, Any]:
    """Counters since the process began, and what there is at this moment."""
    counters = engine.counters
    found: dict[str, Any] = {
        each.name: getattr(counters, each.name) for each in fields(Counters) if "refusals" not in each.name
    }
    found["refusals"] = dict(counters.refusals)
    found["memory"] = asdict(engine.memory.numbers())
    found["flights"] = asdict(engine.flights.numbers())
    found["refresher"] = engine.refresher.numbers()
    found["tags"] = dict(engine.tags.numbers())
    found["store"] = None
    if engine.store is not None:
        unconfirmed_s = engine.tags.unconfirmed_s()
        found["store"] = {
            "title": engine.store.title,
            "is_reachable": engine.store.is_reachable,
            "unconfirmed_s": None if unconfirmed_s == float("inf") else round(unconfirmed_s, 3),
            **{name: asdict(each) for name, each in engine.store.numbers().items()},
        }
    return found


def largest(engine: Engine, count: int = 10) -> list[dict[str, Any]]:
    """The pages that take most memory, the largest first."""
    now = engine.now()
    held = [(charge, value) for _, value, charge in engine.memory if isinstance(value, Held)]
    held.sort(key=lambda pair: pair[0], reverse=True)
    return [{"bytes": charge, **described(each, now)} for charge, each in held[:count]]


def described(held: Held, now: float) -> dict[str, Any]:
    """One stored page. Cookies that its variant is for are not shown."""
    entry = held.entry
    return {
        "key": held.key.hex(),
        "route": entry.route,
        "status": entry.status,
        "body_bytes": len(entry.body),
        "codings": held.codings,
        "age_s": round(current_age(entry, now), 1),
        "ttl_s": round(held.expires_at - now, 1),
        "swr_s": entry.swr_s,
        "sie_s": entry.sie_s,
        "keep_s": entry.keep_s,
        "render_ms": round(entry.render_s * 1000, 3),
        "hits": held.hits,
        "tags": [tag for tag in entry.tags if not tag.startswith(ADDRESS_MARK)],
        "vary": {name: "(set)" if value and name not in OPEN else value for name, value in entry.vary},
    }


def explain(engine: Engine, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the cache would do with a GET of this address with these request headers, and why. A path alone is meant
    where it is kept, if it is.

    Raises ValueError for what is no URL, or names no host where the settings do not either."""
    target = target_of(url)
    site, now = engine.site, engine.now()
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    scheme, host = (target.scheme, target.host) if target.host else _place_of(engine, target, sent)
    request = Request("GET", scheme, host, target.path, target.query, sent)
    answer: dict[str, Any] = {
        "url": f"{scheme}://{host}{target.path}" + (f"?{target.query}" if target.query else ""),
        "host_allowed": site.allows(host),
        "excluded": site.is_excluded(target.path, len(site.script({}))),
        "stored": False,
        "would": "forward",
    }
    ask = may_look_up(request, site.rules)
    answer["request"] = {"may_use_stored": ask.use, "may_be_stored": ask.store, "reason": ask.reason.value}
    primary = engine.shelf.primary_of(request)
    held = engine.shelf.find_for(primary, request) or engine.shelf.fetch(request)
    primary = engine.shelf.primary_of(request)
    variants = engine.memory.peek(primary)
    if isinstance(variants, Variants):
        known = [engine.memory.peek(key) for key in variants.keys]
        answer["varies_by"] = [list(names) for names in variants.specs]
        answer["variants"] = [described(each, now) for each in known if isinstance(each, Held)]
    mark = engine.hit_for_miss.is_marked(engine.shelf.vary_key(primary, request))
    answer["last_answer_could_not_be_shared"] = mark
    answer["last_refusal"] = engine.counters.last_refusals.get(primary)
    if held is None:
        return answer
    verdict, reason = judge(held.entry, now, ask)
    purged = engine.tags.judge(held.entry)
    would = {"FRESH": "hit", "REFRESH": "stale hit, refreshed in the background", "VALIDATE": "ask the application"}
    answer["stored"] = True
    answer["entry"] = described(held, now)
    answer["freshness"] = {"verdict": verdict.name.lower(), "reason": reason.value, "purged": purged.value}
    if purged is Purged.STALE and verdict is Verdict.FRESH:
        verdict = Verdict.REFRESH if held.entry.swr_s > 0 else Verdict.VALIDATE
    if ask.use and purged is not Purged.GONE:
        answer["would"] = would.get(verdict.name, "forward")
    return answer


def _place_of(engine: Engine, target: Target, sent: Mapping[str, str]) -> tuple[str, str]:
    """Scheme and host for a path: where it is in memory, else where visitors come to, else what the settings say."""
    places = engine.site.places()
    for scheme, host in places:
        request = Request("GET", scheme, host, target.path, target.query, sent)
        if engine.memory.peek(engine.shelf.primary_of(request)) is not None:
            return scheme, host
    return places[0]
