"""All that was counted since the start: what Prometheus and OpenTelemetry are told, as opposed to what a minute had.

A process's own sums are those of the aggregator: minutes that are over and those that are not. Under `serve` they are
kept in the server's shared memory as well (the ledger), in the place of the worker that has them. Whoever takes that
place next goes on from there, so that the sums of the server never fall, also when a worker is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import Protocol

from django_wsgiperf.conf import ConfigurationError

from . import payload, pipeline
from .tally import Tally

logger = logging.getLogger("django_wsgiperf.metrics")

_PATIENCE_S = 0.3
MAX_ROUTES = 10_000
"""The largest METRICS["MAX_ROUTES"]: what an aggregator has let in is not bounded a second time here."""


class Ledger(Protocol):
    """Shared memory with a place for each worker; server/ledger.py."""

    def write(self, place: int, data: bytes) -> bool: ...

    def read(self, place: int) -> bytes: ...

    def places(self) -> range: ...

    @property
    def name(self) -> str: ...


_lock = threading.Lock()
"""Guards _inherited, _known, _seat and _published."""
_inherited = Tally()
"""Of workers that had this one's place before it."""
_known = Tally()
"""What own() gave last."""
_seat: tuple[Ledger, int] | None = None
_published = b""


def take_seat(ledger: Ledger, place: int) -> None:
    """From now on this process is the worker at `place`; it goes on from what was counted there."""
    global _inherited, _known, _seat, _published
    before = ledger.read(place)
    inherited = Tally()
    if before:
        try:
            inherited = payload.Detail(before).tally()
        except payload.Unreadable as error:
            logger.warning("What was counted at place %d of the server cannot be read: %s", place, error)
    with _lock:
        _inherited, _known, _seat, _published = inherited, inherited, (ledger, place), before
    if inherited.routes:
        # With wrong settings nothing is counted here, as the checks say.
        with contextlib.suppress(ConfigurationError):
            pipeline.worker().tell_apart(inherited.routes)


def seat() -> int | None:
    """The place of this worker in the server's ledger; None where there is none."""
    taken = _seat
    return None if taken is None else taken[1]


def server_id() -> str:
    """What the workers of one server have in common; empty elsewhere."""
    taken = _seat
    return "" if taken is None else taken[0].name


def own() -> Tally:
    """The sums of this process since it began, and of those whose place it has taken. Not to be changed.

    While the store keeps the metrics' thread waiting, what was known before: nobody waits here for a database."""
    global _known
    try:
        counted = pipeline.worker().cumulative(_PATIENCE_S)
    except TimeoutError:
        with _lock:
            return _known
    with _lock:
        counted.merge(_inherited, MAX_ROUTES)
        _known = counted
    return counted


def publish() -> None:
    """Write the sums to the ledger, where there is one and they have changed. Any thread."""
    global _published
    taken = _seat
    if taken is None:
        return
    # Packed and written by one thread at a time: what is written later must not be older.
    with _publishing:
        data = payload.pack_detail(own())
        with _lock:
            is_news = data != _published and _seat is taken
        if is_news:
            if taken[0].write(taken[1], data):
                with _lock:
                    _published = data
            else:
                _complain(len(data))


def of_server() -> Tally:
    """The sums of all workers of this server, those that are gone included, as they were last published.

    What was told once is in the ledger, so that the next answer is no less. Without a ledger: this process's own."""
    taken = _seat
    if taken is None:
        return own()
    ledger = taken[0]
    publish()
    whole = Tally()
    for each in ledger.places():
        data = ledger.read(each)
        if data:
            try:
                whole.merge(payload.Detail(data).tally(), MAX_ROUTES)
            except payload.Unreadable as error:
                logger.warning("What was counted at place %d of the server cannot be read: %s", each, error)
    return whole


_publishing = threading.Lock()
"""Held by the one thread that packs and writes."""
_has_complained = False


def _complain(size: int) -> None:
    global _has_complained
    if not _has_complained:
        _has_complained = True
        logger.warning(
            "The sums of %d bytes do not fit into the server's ledger: its counters stand still. "
            "Set METRICS[MAX_ROUTES] to less, and start the server again",
            size,
        )


def _after_fork_in_child() -> None:
    """The place is the parent's, and so is what it has counted."""
    global _lock, _publishing, _inherited, _known, _seat, _published
    _lock, _publishing = threading.Lock(), threading.Lock()
    _inherited, _known, _seat, _published = Tally(), Tally(), None, b""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
