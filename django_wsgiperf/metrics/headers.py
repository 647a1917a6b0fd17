"""Header fields that join a request to what others know of it: Server-Timing, traceparent, X-Request-ID and -Start.

What a client sends is believed only where it is well-formed, and X-Request-Start only from a proxy that is trusted.
"""

from __future__ import annotations

import itertools
import operator
import os
import random
import re
from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from .record import Record

MAX_QUEUE_S: Final = 60.0
"""Longer than this no proxy keeps a request back: the clocks differ."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST_START = re.compile(r"(?:t=)?(\d{1,20}(?:\.\d{1,9})?)s?")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


def _ids() -> Iterator[str]:
    """Without end: 16 random digits of this process, 14 that count, and two that go round while those stay. Which,
    others need not be able to tell."""
    process = f"{_random.getrandbits(64):016x}"
    counts = itertools.count(2**54 + _random.getrandbits(53), _random.getrandbits(16) | 1)
    last = [f"{number:02x}" for number in range(256)]
    _random.shuffle(last)
    # next() of all of these is atomic, and cheaper than to format a number for each, or to have a random one.
    firsts = itertools.chain.from_iterable(
        map(itertools.repeat, map((process + "%x").__mod__, counts), itertools.repeat(256))
    )
    return map(operator.add, firsts, itertools.cycle(last))


# Not the module's own generator, which a project may seed; and not the system's, for a name need not be a secret.
_random = random.Random()
next_request_id = _ids().__next__
"""32 hex digits that no other request has. Of the process: look it up each time."""


def request_id_of(given: str) -> str:
    """The client's X-Request-ID if it is well-formed, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else next_request_id()


def trace_id_of(traceparent: str) -> str:
    """The trace's id in a traceparent header (W3C Trace Context), empty where that is not well-formed."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return ""
    version, trace, span, _, more = found.groups()
    # Later versions may say more at the end; version 00 must not, and ff is none.
    if version == "ff" or (version == "00" and more) or trace == _NO_TRACE or span == _NO_SPAN:
        return ""
    return trace


def queued_ns_since(started: str, now_s: float) -> int:
    """How long ago X-Request-Start says that a proxy took the request on; -1 where it says nothing that can be.

    Proxies write seconds (nginx), milliseconds (Heroku), microseconds (Apache) or nanoseconds since 1970, with or
    without `t=` before: the size of the number tells which. What is in the future or more than a minute ago comes of
    clocks that differ, and is cut off there."""
    found = _REQUEST_START.fullmatch(started.strip())
    if found is None:
        return -1
    at = float(found[1])
    for unit in (1.0, 1e3, 1e6, 1e9):
        at_s = at / unit
        # From 2001 to 2286 a number of seconds has ten digits.
        if 1e9 <= at_s < 1e10:
            return int(min(max(0.0, now_s - at_s), MAX_QUEUE_S) * 1e9)
    return -1


def is_known_as_staff(request: HttpRequest) -> bool:
    """Whether the user has been loaded and is staff. Never loads the user: what would that cost?"""
    user: Any = request.__dict__.get("user")
    if isinstance(user, LazyObject):
        user = user._wrapped
        if user is empty:
            return False
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


def append_server_timing(response: HttpResponseBase, record: Record) -> None:
    """Add the header to what the application may have written itself."""
    own = response.headers.get("Server-Timing")
    value = server_timing(record)
    response.headers["Server-Timing"] = f"{own}, {value}" if own else value


def server_timing(record: Record) -> str:
    """The header's value: milliseconds until the response left the middleware, and what they were spent on."""
    made = [f"total;dur={record.ttfb_ns / 1e6:.1f}"]
    db, pool, cache, template, collector = record.accounts()
    if record.queue_ns >= 0:
        made.append(f"queue;dur={record.queue_ns / 1e6:.1f}")
    if record.db:
        queries = sum(use.queries for use in record.db.values())
        made.append(f'db;dur={db / 1e6:.1f};desc="{queries} queries"')
        made.append(f"pool;dur={pool / 1e6:.1f}")
    if record.cache:
        hits = sum(use.hits for use in record.cache.values())
        misses = sum(use.misses for use in record.cache.values())
        made.append(f'cache;dur={cache / 1e6:.1f};desc="{hits} hits, {misses} misses"')
    if record.templates:
        made.append(f"template;dur={template / 1e6:.1f}")
    if collector:
        made.append(f"gc;dur={collector / 1e6:.1f}")
    if record.page_cache:
        made.append(f'page-cache;desc="{record.page_cache}"')
    return ", ".join(made)


def _after_fork_in_child() -> None:
    global next_request_id
    _random.seed()
    next_request_id = _ids().__next__


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
