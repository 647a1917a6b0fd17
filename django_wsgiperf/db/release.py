"""When connections go back earlier than Django would give them, and how code keeps one: `pin` and `hold_connection`.

Three policies, RELEASE in POOL. "request" is Django's own point, when the response is closed after its last byte was
sent. "response" is where the response leaves the middleware: what streams it queries anew. "transaction" is the end of
each outermost transaction; code that needs its session for longer says so with `pin`. None of them touches a
connection in an atomic block, with an open cursor, pinned, or shared between threads.
"""

from __future__ import annotations

import functools
import inspect
import threading
from asyncio import _get_running_loop
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

from . import activity
from .mixin import PooledMixin

View = TypeVar("View", bound=Callable[..., Any])

HOLD = "wsgiperf_hold_connection"
"""The attribute that `hold_connection` leaves on a view."""


@contextmanager
def pin(alias: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Keep this thread's connection to a database while the block runs, whatever RELEASE says.

    For state that lives in the session: SET, temporary tables, advisory locks, LISTEN, LAST_INSERT_ID(), or the
    driver's connection used directly. The session is cleaned after it, unless RESET is "rollback". Blocks may nest.
    Django's own close() still closes."""
    wrapper = connections[alias]
    if not isinstance(wrapper, PooledMixin):
        yield
        return
    with wrapper.pinned():
        yield


def hold_connection(view: View) -> View:
    """Have a view keep its connections until the response is closed, through all of a streamed body.

    A decorator for views, sync and async; for a class, `@method_decorator(hold_connection, name="dispatch")`."""
    if inspect.iscoroutinefunction(view):

        async def held_async(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

        held: Any = held_async
    else:

        def held_sync(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        held = held_sync
    held = functools.wraps(view)(held)
    setattr(held, HOLD, True)
    return held  # type: ignore[no-any-return]


def wrappers_here() -> list[PooledMixin]:
    """This thread's wrappers that take their connections from a pool.

    They are in connections.all(initialized_only=True), which looks for each of them twice, and several times a request
    is too often for that. Where asgiref keeps them otherwise, or in a thread with an event loop, that is asked."""
    storage = getattr(connections._connections, "_storage", None)  # type: ignore[attr-defined]  # Not in the stubs.
    if type(storage) is threading.local and _get_running_loop() is None:
        found: Sequence[Any] = list(storage.__dict__.values())
    else:
        found = connections.all(initialized_only=True)
    return [wrapper for wrapper in found if isinstance(wrapper, PooledMixin)]


def release_all(*, streaming: bool = False) -> int:
    """Give back this thread's connections that nobody would miss; how many those were.

    `streaming` says that the body is still to come, and may look for what the view has left in its session."""
    released = 0
    for wrapper in wrappers_here():
        pooling = wrapper._pooling
        if pooling.lease is not None and pooling.of is not None and pooling.of.releases_with_response:
            if streaming:
                wrapper.warn_of_lost_session()
            released += wrapper.release_early()
    return released


def relabel(label: str) -> None:
    """Tell the pools what the connections that this thread has already are used for."""
    for wrapper in wrappers_here():
        if (lease := wrapper.pool_lease) is not None:
            lease.label = label


def released_between_chunks(body: Iterator[Any], work: activity.Activity) -> Iterator[Any]:
    """A streamed body that has no connection while the client reads: it takes one again when it queries.

    Where the view holds its connections, all that is done is to tell what the body is made for."""
    iterator = iter(body)
    try:
        while True:
            token = activity.current.set(work)
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            finally:
                activity.current.reset(token)
                if not work.holds:
                    release_all()
            yield chunk
    finally:
        if (close := getattr(iterator, "close", None)) is not None:
            close()
        if not work.holds:
            release_all()


async def released_between_chunks_async(body: AsyncIterator[Any], work: activity.Activity) -> AsyncIterator[Any]:
    """The same for a body that is iterated on an event loop; its queries run in the thread for synchronous code."""
    from asgiref.sync import sync_to_async

    release = sync_to_async(release_all, thread_sensitive=True)
    iterator = aiter(body)
    taken = work.leases
    try:
        while True:
            token = activity.current.set(work)
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            finally:
                activity.current.reset(token)
                if work.leases != taken and not work.holds:
                    # Going over to the other thread costs more than most chunks: only when it took a connection.
                    await release()
                    taken = work.leases
            yield chunk
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            await close()
