"""The numbers for machines: Prometheus and OpenMetrics text, JSON statistics, OTLP. All read the same sums.

own.py says what this process knows, over the control channel too; gather.py puts the processes of a host or server
together; exposition.py, statistics.py and otlp.py write that down in the form of each. Nothing here measures.
"""

from __future__ import annotations

import sys
from typing import Any

from django_wsgiperf import conf, control

TOPIC = "exposition"
"""What processes ask each other for."""


def register() -> None:
    """Have this process answer when others gather. Imports nothing that only an answer needs."""
    control.handle(TOPIC, _answer)


def begin() -> None:
    """This process serves: have its numbers sent, where that is wanted."""
    if conf.current("METRICS").values.otlp:
        from . import otlp

        otlp.start()


def end() -> None:
    """All is summed that this process will ever count: have it sent, where that is wanted, and no more. Takes two
    seconds at most."""
    otlp = sys.modules.get(f"{__name__}.otlp")
    if otlp is not None:
        otlp.stop()


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    from . import own

    return own.answer(message)
