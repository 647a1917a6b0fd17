"""What the cache's logic asks of a door, and what it hands back: plain data between visit.py and the doors.

A visit is a generator. It yields a Render (call the application), a Wait (for another request) or a Call (of something
that may block), is sent what came of it, and returns a Reply or a Pass. drive() does that in the calling thread; a door
that must not block does it in its own way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .held import Held
from .messages import NO_ANNOTATION, NO_SIGNALS, Annotation, Response, Signals, index
from .sending import HeaderList
from .ticket import Ticket

UNCHANGED: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Render:
    """Call the application. `conditions`, where not None, stand in place of the client's own (field in lower case ->
    value); without any, none is sent, so that the answer is whole."""

    conditions: Mapping[str, str] | None = None
    buffer: bool = False
    """Whether the body is wanted, if it is there as a whole and not too large."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the ticket has its role."""

    ticket: Ticket[Landed]


@dataclass(frozen=True, slots=True)
class Call:
    """Call something that may take as long as a time-out of the store."""

    function: Callable[[], Any]


@dataclass(slots=True)
class Made:
    """What the application gave. `body` is None where it streams or is too large; then only a Pass can follow."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    signals: Signals = NO_SIGNALS
    annotation: Annotation = NO_ANNOTATION
    route: str = ""
    origin: Any = None
    """The door's own: what it needs to pass it on."""
    close: Callable[[], None] = lambda: None
    """To be called when it is not passed on."""
    tell: Callable[[str], None] = lambda outcome: None
    """Tell its record what the cache made of it, while that is open: before close()."""
    is_whole: bool = True
    """Whether the body is there as a whole; `body` is None all the same where it is too large."""

    _fields: Mapping[str, str] | None = None

    @property
    def response(self) -> Response:
        too_large = sys.maxsize if self.is_whole else None
        size = too_large if self.body is None else len(self.body)
        return Response(self.status, self.reason, self.headers, size)

    @property
    def fields(self) -> Mapping[str, str]:
        """Name in lower case -> value, several lines joined by commas."""
        found = self._fields
        if found is None:
            found = self._fields = index(self.headers)
        return found


@dataclass(slots=True)
class Reply:
    """Send this. What the application gave, if anything, is no longer needed."""

    status: int
    reason: str
    headers: HeaderList
    body: bytes
    outcome: str
    """Of those that Record.page_cache knows."""
    held: Held | None = None
    rendered: bool = False
    """Whether the application was called for it."""


@dataclass(slots=True)
class Pass:
    """Send what the application gave, with this head."""

    made: Made
    headers: HeaderList
    """The application's own head, with what is added."""
    outcome: str


Landed: TypeAlias = "Landing"


@dataclass(slots=True)
class Landing:
    """What a leader hands to those who wait for it."""

    held: Held
    stale: bool = False
    """It may be used although it is stale: the application failed."""


Effect: TypeAlias = Render | Wait | Call
Steps: TypeAlias = Generator[Effect, Any, Reply | Pass]


def drive(steps: Steps, render: Callable[[Render], Made]) -> Reply | Pass:
    """Take all steps in this thread."""
    try:
        effect = next(steps)
        while True:
            try:
                if type(effect) is Render:
                    value: Any = render(effect)
                elif type(effect) is Wait:
                    value = effect.ticket.wait()
                else:
                    value = effect.function()  # type: ignore[union-attr]
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(value)
    except StopIteration as end:
        result: Reply | Pass = end.value
        return result
