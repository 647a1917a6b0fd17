"""What this process tells and does when another process of the project asks its cache, by the control channel.

`manage.py wsgiperf cache` and `purge` and the admin page ask so, since each process has a memory of its own. The topic
is "cache"; a message may want several things at once, and the answer has one key for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django_wsgiperf import control

from . import runtime
from .addresses import target_of
from .annotations import check_tag
from .engine import Engine
from .held import Held
from .purging import tags_of_targets
from .tags import Verdict

TOPIC: Final = "cache"
MAX_LARGEST: Final = 100


def register() -> None:
    """Have an answer ready, for as soon as this process takes part."""
    control.handle(TOPIC, answer)


def start() -> None:
    """Take part from now on, in this process. Cheap when that is so already."""
    control.start()


def answer(message: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted of the cache of this process:

    `numbers`: true -> Engine.numbers(); `largest`: n -> Engine.largest(n); `explain`: {url, headers} ->
    Engine.explain(); `matching`: an order -> how many pages in memory it hits; `purge`: an order -> whether it went
    everywhere. An order is {urls, tags, all, soft}. `error` says what cannot be understood; then nothing is done."""
    engine = runtime.engine()
    if engine is None:
        return {"enabled": False}
    reply: dict[str, Any] = {"enabled": True, "shared": engine.store is not None}
    try:
        if "explain" in message:
            wanted = message["explain"]
            reply["explain"] = engine.explain(wanted["url"], wanted.get("headers"))
        if "matching" in message:
            reply["matching"] = matching(engine, message["matching"])
        if "purge" in message:
            reply["purge"] = _purge(engine, message["purge"])
    except (ValueError, TypeError) as error:
        return {"enabled": True, "error": str(error)}
    if message.get("numbers"):
        reply["numbers"] = engine.numbers()
    if message.get("largest"):
        reply["largest"] = engine.largest(min(int(message["largest"]), MAX_LARGEST))
    return reply


def matching(engine: Engine, order: Mapping[str, Any]) -> dict[str, int]:
    """How many pages in memory the order hits: of each tag and address in it, and of `all` together.

    Looks at every page once. What is purged already does not count."""
    wanted: dict[str, frozenset[str]] = {tag: frozenset({check_tag(tag)}) for tag in order.get("tags", ())}
    for url in order.get("urls", ()):
        wanted[url] = frozenset(tags_of_targets(engine, [target_of(url)]))
    found = dict.fromkeys(wanted, 0)
    hit = 0
    for _, held, _ in engine.memory:
        if not isinstance(held, Held) or engine.tags.judge(held.entry) is Verdict.GONE:
            continue
        is_hit = bool(order.get("all"))
        for name, tags in wanted.items():
            if not tags.isdisjoint(held.entry.tags):
                found[name] += 1
                is_hit = True
        hit += is_hit
    return {**found, "all": hit}


def _purge(engine: Engine, order: Mapping[str, Any]) -> dict[str, bool]:
    soft = bool(order.get("soft"))
    tags = [check_tag(tag) for tag in order.get("tags", ())]
    tags += tags_of_targets(engine, [target_of(url) for url in order.get("urls", ())])
    if order.get("all"):
        return {"everywhere": engine.tags.purge(everything=True, soft=soft).everywhere}
    if not tags:
        return {"everywhere": True}
    return {"everywhere": engine.tags.purge(tags, soft=soft).everywhere}
