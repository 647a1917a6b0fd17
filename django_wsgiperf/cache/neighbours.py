"""Purges for the other processes of this host, where no shared store tells them: by the control channel.

What another host keeps, only a shared store reaches.
"""

from __future__ import annotations

from typing import Any, Final

from django_wsgiperf import control
from django_wsgiperf.control import folder
from django_wsgiperf.instance import instance

TOPIC: Final = "cache"
_TIMEOUT_S: Final = 1.0


def tell(order: dict[str, Any]) -> bool:
    """Have the others carry out an order as answering.py has it; whether all of them have."""
    try:
        others = [peer for peer in folder.peers() if peer.instance != instance()]
    except (folder.Unavailable, OSError):
        return True  # Nobody can be reached, this process neither: the channel has said so.
    if not others:
        return True
    answers = control.ask(TOPIC, {"purge": order}, timeout_s=_TIMEOUT_S)
    told = [answer for answer in answers if answer.instance != instance()]
    return all(answer.reply is not None and "error" not in answer.reply for answer in told)
