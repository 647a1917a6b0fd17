"""Readiness of sockets: epoll where the system has it, `selectors` (kqueue, poll) elsewhere.

Both report an event once for each change (edge-triggered) or behave as if they did, so that the reactor never has
to change a registration between requests: with epoll a request costs no epoll_ctl at all.
"""

from __future__ import annotations

import contextlib
import select
import selectors
from typing import Protocol

READ = 1
WRITE = 4
GONE = 0x10 | 0x8 | 0x2000
"""EPOLLHUP, EPOLLERR and EPOLLRDHUP."""

_EVENTS_MAX = 256


class Poller(Protocol):
    """Events are pairs of a file descriptor and a mask of READ, WRITE and GONE."""

    def add(self, fd: int) -> None: ...

    def add_listener(self, fd: int) -> None: ...

    def remove(self, fd: int) -> None: ...

    edge_triggered: bool
    """Closing a descriptor is enough to forget it, and arm() does nothing."""

    def arm(self, fd: int, write: bool) -> None:
        """Report the next event on `fd`: something to read, or room to write if `write`. Leader only."""

    def poll(self, timeout_s: float) -> list[tuple[int, int]]: ...

    def close(self) -> None: ...


class EpollPoller:
    """Linux: one system call a turn, none per connection and request."""

    edge_triggered = True

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def add(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)

    def add_listener(self, fd: int) -> None:
        # Exclusive: a new connection wakes one worker process, not all of them.
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def remove(self, fd: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(fd)

    def arm(self, fd: int, write: bool) -> None:
        pass

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout_s, _EVENTS_MAX)

    def close(self) -> None:
        self._epoll.close()


class SelectorPoller:
    """Anywhere else. A level-triggered event is silenced when it is reported, until arm() is called."""

    edge_triggered = False

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listeners: set[int] = set()

    def add(self, fd: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def add_listener(self, fd: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)
        self._listeners.add(fd)

    def remove(self, fd: int) -> None:
        self._listeners.discard(fd)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(fd)

    def arm(self, fd: int, write: bool) -> None:
        # Never both: what a client sends while it does not read stays where it is, and would be reported for ever.
        events = selectors.EVENT_WRITE if write else selectors.EVENT_READ
        try:
            self._selector.modify(fd, events)
        except KeyError:
            with contextlib.suppress(ValueError, OSError):
                self._selector.register(fd, events)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        events = []
        for key, mask in self._selector.select(timeout_s):
            read = READ if mask & selectors.EVENT_READ else 0
            write = WRITE if mask & selectors.EVENT_WRITE else 0
            events.append((key.fd, read | write))
            if key.fd not in self._listeners:
                self.remove(key.fd)
        return events

    def close(self) -> None:
        self._selector.close()


def new_poller() -> Poller:
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
