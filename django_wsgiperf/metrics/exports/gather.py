"""The numbers of all processes that belong together, in one piece, within a bounded time.

Under `serve`: the workers of this server, whose sums come from its ledger and are one series. Elsewhere: the project's
other processes on this host, each with sums of its own, since nobody keeps those of a process that is gone; they are
told apart by a small number that is taken again, and Prometheus adds up.
"""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass, field
from typing import Any

from django_wsgiperf import control
from django_wsgiperf.instance import instance
from django_wsgiperf.metrics import cumulative, payload
from django_wsgiperf.metrics.tally import Tally

from . import TOPIC, own

logger = logging.getLogger("django_wsgiperf.metrics")


@dataclass(slots=True)
class Process:
    """One process: its small number, and what it said."""

    number: int
    said: dict[str, Any]

    def get(self, name: str) -> Any:
        return self.said.get(name)


@dataclass(slots=True)
class Gathered:
    """`tallies` by number of the process; by None, and that alone, where one is of all processes."""

    tallies: dict[int | None, Tally] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    unreachable: int = 0
    """Processes that are there and did not answer."""

    def whole(self) -> Tally:
        """All tallies together."""
        if None in self.tallies:
            return self.tallies[None]
        whole = Tally()
        for tally in self.tallies.values():
            whole.merge(tally, cumulative.MAX_ROUTES)
        return whole


def gather(timeout_s: float = 1.0) -> Gathered:
    """Ask everybody. Takes `timeout_s` at most, and never raises because of another process."""
    gathered = Gathered()
    server = cumulative.server_id()
    said: dict[str, dict[str, Any]] = {}
    for answer in control.ask(TOPIC, timeout_s=timeout_s):
        if answer.reply is None:
            gathered.unreachable += answer.instance != instance()
        elif answer.reply.get("server") == server:
            said[answer.instance] = answer.reply
    if instance() not in said:
        # The channel could not be opened, or all its threads are taken.
        said[instance()] = own.answer({})
    for name in sorted(said, key=lambda name: (_number(said[name]), name)):
        reply = said[name]
        number = _number(reply)
        if any(process.number == number for process in gathered.processes):
            continue  # Two that could not tell each other apart; this one is the later by name.
        gathered.processes.append(Process(number, reply))
        if not server:
            gathered.tallies[number] = _tally(reply)
    if server:
        gathered.tallies[None] = cumulative.of_server()
    return gathered


def _number(reply: dict[str, Any]) -> int:
    number = reply.get("process")
    return number if isinstance(number, int) else 0


def _tally(reply: dict[str, Any]) -> Tally:
    try:
        return payload.Detail(base64.b64decode(reply.get("tally") or "", validate=True)).tally()
    except (payload.Unreadable, binascii.Error, TypeError, ValueError) as error:
        logger.warning("What process %s counted cannot be read: %s", reply.get("pid"), error)
        return Tally()
