"""Questions to the response caches of all processes on this host, by the control channel; this process's own included.

The topic and its answers are cache/answering.py's. Numbers come with every process's report and are not asked for here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_wsgiperf import control
from django_wsgiperf.cache import answering
from django_wsgiperf.instance import instance

from .numbers import integer


def ask(message: dict[str, Any]) -> list[Mapping[str, Any]]:
    """What every cache answers; those that are turned off, or do not answer in time, are left out."""
    answers = control.ask(answering.TOPIC, message)
    replies: list[Mapping[str, Any]] = [answer.reply for answer in answers if answer.reply is not None]
    if all(answer.instance != instance() for answer in answers):
        replies.append(answering.answer(message))
    return [reply for reply in replies if reply.get("enabled")]


def largest(count: int) -> list[Mapping[str, Any]]:
    """The largest pages of all processes, each once, the largest first."""
    found: dict[str, Mapping[str, Any]] = {}
    for reply in ask({"largest": count}):
        for entry in reply.get("largest", ()):
            found.setdefault(str(entry.get("key", "")), entry)
    return sorted(found.values(), key=lambda entry: -integer(entry.get("bytes")))[:count]


def explain(url: str) -> Mapping[str, Any]:
    """What the caches would do with a GET of this address: the answer of one that has it, else of one that has refused
    it, else of any.

    With the key `error` when that is no address; empty where there is no cache."""
    replies = ask({"explain": {"url": url}})
    if failed := [reply for reply in replies if "error" in reply]:
        return {"error": failed[0]["error"]}
    answers = [answer for reply in replies if isinstance(answer := reply.get("explain"), Mapping)]
    return max(answers, key=lambda each: (bool(each.get("stored")), bool(each.get("last_refusal"))), default={})


@dataclass(frozen=True, slots=True)
class Purge:
    """How a purge went: in so many processes, and whether all that share a store hear of it. `error` is empty then."""

    processes: int
    everywhere: bool
    error: str


def purge(order: Mapping[str, Any]) -> Purge:
    """Carry out an order, {urls, tags, all, soft}, in every process."""
    replies = ask({"purge": dict(order)})
    errors = [str(reply["error"]) for reply in replies if "error" in reply]
    done = [reply["purge"] for reply in replies if isinstance(reply.get("purge"), Mapping)]
    return Purge(len(done), all(each.get("everywhere") for each in done), errors[0] if errors else "")


def matching(order: Mapping[str, Any]) -> int | None:
    """How many pages in memory an order hits, in all processes; None where it cannot be understood."""
    replies = ask({"matching": dict(order)})
    if not replies or any("error" in reply for reply in replies):
        return None
    return sum(integer(reply.get("matching", {}).get("all")) for reply in replies)
