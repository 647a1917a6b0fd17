"""Asks the caches of the project's processes on this host, and tells those that answered from those that could not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What processes answered, by the name of each, and by name why others did not."""

    replies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of processes whose cache is on."""
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def anybody(self) -> bool:
        return bool(self.replies or self.failures)


def ask_caches(message: dict[str, Any]) -> Asked:
    """What the running processes say. This one takes no part: its memory is empty."""
    from django_wsgiperf import control
    from django_wsgiperf.instance import instance

    asked = Asked()
    for answer in control.ask("cache", message, timeout_s=TIMEOUT_S):
        if answer.instance == instance():
            continue
        name = short(answer.instance)
        if answer.reply is None:
            asked.failures[name] = answer.error
        elif "error" in answer.reply:
            asked.failures[name] = str(answer.reply["error"])
        elif answer.reply.get("enabled"):
            asked.replies[name] = answer.reply
    return asked


def short(instance: str) -> str:
    """`host:pid`, without what tells a process from earlier ones of the same number."""
    return instance.rpartition(":")[0] or instance
