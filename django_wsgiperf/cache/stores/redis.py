"""A shared store in Redis or Valkey, by the fewest round trips: raw values, leases, the log of purges, and its news.

Takes from redis-py its connections (addresses, TLS, passwords, Sentinel, the protocol) and leaves the rest of it: no
retries, no time-outs of five seconds, no pool that asks each connection for its health before each use. What the log
looks like inside Redis is in redis_purges.py, how a connection is found for an alias in __init__.py.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from redis import ConnectionError as RedisConnectionError
from redis import ReadOnlyError, RedisError, ResponseError

from django_wsgiperf.cache.store import PurgeOrder, Purges, Store, StoreRefused, StoreUnavailable

from . import redis_purges

Wire: TypeAlias = Any
"""A connection of redis-py, of whatever class the alias uses."""
Command: TypeAlias = tuple[str | bytes | int, ...]

DELETE_IF: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # Not by name: how Redis says that it is full, may only be read or is misconfigured differs between versions.
    except ResponseError as error:
        raise StoreRefused(str(error)) from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable(str(error) or type(error).__name__) from error


class RedisStore(Store):
    """`connect` makes a connection that is not yet open, with the time-outs it is to have; `prefix` begins every key.

    Idle connections lie on a stack, at most as many as threads have used the store at once. `max_tags` bounds what the
    log of purges remembers; what it has to forget it takes for purged."""

    def __init__(self, title: str, connect: Callable[[], Wire], prefix: str, *, max_tags: int = 20_000) -> None:
        self.title = title
        self._connect = connect
        self._prefix = prefix
        self._log = f"{prefix}purges"
        self._max_tags = max_tags
        # append() and pop() of a list are atomic: it needs no lock.
        self._idle: list[Wire] = []
        self._pid = os.getpid()

    # -- values

    def fetch(self, keys: Sequence[str], known: int) -> tuple[list[bytes | None], int | None]:
        prefix = self._prefix
        head, values = self._ask(("ZSCORE", self._log, redis_purges.HEAD), ("MGET", *[prefix + key for key in keys]))
        return values, None if head is None else int(float(head))

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        self._ask(("SET", self._prefix + key, value, "PX", _milliseconds(ttl_s)))

    def delete(self, keys: Sequence[str]) -> None:
        if keys:
            self._ask(("DEL", *[self._prefix + key for key in keys]))

    def add(self, key: str, value: bytes, ttl_s: float) -> bool:
        name = self._prefix + key
        command = ("SET", name, value, "NX", "PX", _milliseconds(ttl_s))
        return self._ask(command, undo=_delete_if(name, value))[0] is not None

    def delete_if(self, key: str, value: bytes) -> None:
        self._ask(_delete_if(self._prefix + key, value))

    def add_and_fetch(
        self, key: str, value: bytes, ttl_s: float, keys: Sequence[str], known: int
    ) -> tuple[bool, list[bytes | None], int | None]:
        prefix = self._prefix
        added, head, values = self._ask(
            ("SET", prefix + key, value, "NX", "PX", _milliseconds(ttl_s)),
            ("ZSCORE", self._log, redis_purges.HEAD),
            ("MGET", *[prefix + each for each in keys]),
            undo=_delete_if(prefix + key, value),
        )
        return added is not None, values, None if head is None else int(float(head))

    def set_and_delete_if(self, values: Sequence[tuple[str, bytes, float]], key: str, value: bytes) -> None:
        prefix = self._prefix
        commands: list[Command] = [
            ("SET", prefix + name, each, "PX", _milliseconds(ttl_s)) for name, each, ttl_s in values
        ]
        if key:
            commands.append(_delete_if(prefix + key, value))
        self._ask(*commands)

    # -- purges

    def purge(self, order: PurgeOrder, known: int) -> Purges:
        (reply,) = self._ask(redis_purges.purge(self._log, order, known, self._max_tags))
        return redis_purges.parse(reply)

    def purges_since(self, known: int) -> Purges:
        (reply,) = self._ask(redis_purges.since(self._log, known))
        purges = redis_purges.parse(reply)
        if purges.head < max(known, 1):
            (reply,) = self._ask(redis_purges.begin(self._log, known, self._max_tags))
            purges = redis_purges.parse(reply)
        return purges

    def listen(self) -> RedisSubscription:
        with _translated():
            wire = self._connect()
            try:
                wire.connect()
                wire.send_command("SUBSCRIBE", self._log)
                wire.read_response()
            except BaseException:
                wire.disconnect()
                raise
        return RedisSubscription(wire)

    def rest(self) -> None:
        """Nothing to do: an idle connection is anybody's."""

    def close(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # Another thread was faster.
                self._idle.pop().disconnect()

    # -- connections

    def _ask(self, *commands: Command, undo: Command | None = None) -> list[Any]:
        """Send the commands at once, and read a reply to each. `undo` is sent after them where no reply comes: a server
        that was frozen does what it was asked when it wakes, though nobody waits for it any more."""
        if self._pid != os.getpid():
            # After a fork: they are the parent's. Closing them here ends nothing there.
            self._pid = os.getpid()
            self.close()
        try:
            wire = self._idle.pop()
        except IndexError:
            return self._ask_anew(commands, undo)
        try:
            return self._ask_over(wire, commands, undo)
        except StoreUnavailable as error:
            # A server that was restarted has closed them all; only one that answers nothing has been given its time.
            # Every command may be repeated: it does the same again, or was not done.
            if not isinstance(error.__cause__, RedisConnectionError):
                raise
        self.close()
        return self._ask_anew(commands, undo)

    def _ask_anew(self, commands: Sequence[Command], undo: Command | None) -> list[Any]:
        with _translated():
            wire = self._connect()
            wire.connect()
        return self._ask_over(wire, commands, undo)

    def _ask_over(self, wire: Wire, commands: Sequence[Command], undo: Command | None) -> list[Any]:
        with _translated():
            replies: list[Any] = []
            refused: ResponseError | None = None
            is_sent = False
            try:
                wire.send_packed_command([_packed(commands)], check_health=False)
                is_sent = True
                for _ in commands:
                    try:
                        replies.append(wire.read_response(disconnect_on_error=False))
                    except ResponseError as error:
                        refused = error
            except BaseException:
                if is_sent and undo is not None:
                    with contextlib.suppress(RedisError, OSError):
                        wire.send_packed_command([_packed([undo])], check_health=False)
                # A reply that nobody has read must not become the next caller's.
                wire.disconnect()
                raise
            self._idle.append(wire)
            if refused is not None:
                if isinstance(refused, ReadOnlyError):
                    # Where another server has taken over, its address leads there by now.
                    self.close()
                raise refused
            return replies


class RedisSubscription:
    """Messages on the channel of the log, on a connection of their own."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        # By itself it would connect anew when it is found closed, and wait where nothing is announced.
        wire.connect = _over

    def wait(self, timeout_s: float) -> bool:
        with _translated():
            heard = False
            # Whatever has come counts as one: the news is read from the log, not from here.
            while self._wire.can_read(0 if heard else timeout_s):
                self._wire.read_response()
                heard = True
            return heard

    def close(self) -> None:
        self._wire.disconnect()


def _over() -> None:
    raise RedisConnectionError("the subscription has ended")


def _packed(commands: Sequence[Command]) -> bytes:
    """The commands as Redis reads them, to be sent at once; redis-py takes as long for that as Redis to answer."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogatepass")
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(parts)


def _delete_if(name: str, value: bytes) -> Command:
    return ("EVAL", DELETE_IF, 1, name, value)


def _milliseconds(ttl_s: float) -> int:
    return max(1, math.ceil(ttl_s * 1_000))
