"""An exception from outside in every place where one can come: what PyThreadState_SetAsyncExc and Ctrl-C do by chance.

The interpreter looks for one after each call, at the beginning of each function and at the end of each round of a loop,
and nowhere else. So between two of these places nothing need be safe, and in each of them everything must be. After the
call of a function that is written in Python it does not look either; who can be so `exact` says so.

At the end of a round it looks in the jump itself, for which the compilers of Python 3.12 and 3.13 forget what `with`
and `try` stand around it where they made the jump up: after a `while` with a condition, or an `if` at a loop's end.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import django.db.backends

import django_wsgiperf.db

CODE = tuple(str(Path(module.__file__ or "").parent) for module in (django_wsgiperf.db, django.db.backends))
"""Ours, and what of Django calls it and is called by it."""
_LOOKS_AFTER = ("CALL", "RESUME", "SEND")
_LOOKS_IN = ("JUMP_BACKWARD", "POP_JUMP_BACKWARD")


class Interrupted(BaseException):
    """As serve's, it is no Exception."""


class Interruption:
    """Runs something with an exception in the `number`th place inside of `code`, in this thread alone."""

    def __init__(self, number: int, code: tuple[str, ...] = (), *, exact: bool = False) -> None:
        self.number = number
        self.exact = exact
        self.code = code or CODE
        self.seen = 0
        self.where = ""
        self._looked: dict[FrameType, bool] = {}

    def run(self, work: Callable[[], Any]) -> bool:
        """Whether there were so many places; the work was interrupted then."""
        before = sys.gettrace()
        # Python 3.12 reports opcodes only if some frame wanted them when the function was set.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._enter)
        try:
            work()
        except Interrupted:
            return True
        finally:
            sys.settrace(before)
            self._looked.clear()
        # Where something swallows the exception it was raised all the same.
        return bool(self.where)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if self.exact and frame.f_back in self._looked and frame.f_code.co_name != "__init__":
            # Called directly; an __init__ is called by its class, which is not written in Python.
            self._looked[frame.f_back] = False
        if not frame.f_code.co_filename.startswith(self.code) or self.where:
            return None
        # Python 3.13 reports opcodes of a frame only if it has a function of its own when they are asked for.
        frame.f_trace = self._step
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            self._looked.pop(frame, None)
        if event != "opcode" or self.where:
            return self._step
        name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if self._looked.get(frame) or (name.startswith(_LOOKS_IN) and not name.endswith("NO_INTERRUPT")):
            self.seen += 1
            if self.seen == self.number:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Interrupted(self.where)
        self._looked[frame] = name.startswith(_LOOKS_AFTER) and not name.startswith("CALL_INTRINSIC")
        return self._step


def everywhere(
    work: Callable[[], Callable[[], Any]], code: tuple[str, ...] = (), *, exact: bool = False
) -> Iterator[str]:
    """Once for each place: `work()` prepares and gives what is to be interrupted. Yields where that was."""
    number = 1
    while True:
        prepared = work()
        interruption = Interruption(number, code, exact=exact)
        if not interruption.run(prepared):
            return
        del prepared
        yield interruption.where
        number += 1
