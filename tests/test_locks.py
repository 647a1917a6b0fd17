"""No lock of ours stays locked when a thread is interrupted at the end of a loop's round.

The compilers of Python 3.12 and 3.13 make up jumps back to a loop's beginning, and forget for these what `with` stands
around the loop. It is there that the interpreter looks for an exception from outside: what comes leaves the `with`
without unlocking, and nobody ever takes that lock again. So loops under a lock are in functions of their own.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

import django_wsgiperf

PACKAGE = Path(django_wsgiperf.__file__).parent
LOCKS = ("lock", "_emptier", "_wake", "_turn")
"""How the names of locks and conditions end."""


def unguarded(source: str) -> list[int]:
    """The lines, in a `with` on a lock, of jumps that have forgotten it."""
    forgetful = {line for code in codes(compile(source, "source", "exec")) for line in forgetful_jumps(code)}
    locked: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.With) and any(ast.unparse(item.context_expr).endswith(LOCKS) for item in node.items):
            locked.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return sorted(forgetful & locked)


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def forgetful_jumps(code: CodeType) -> Iterator[int]:
    handlers = dis._parse_exception_table(code)  # type: ignore[attr-defined]

    def handler_of(offset: int) -> int | None:
        return next((entry.target for entry in handlers if entry.start <= offset < entry.end), None)

    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if "JUMP_BACKWARD" in name and "NO_INTERRUPT" not in name:
            line = instruction.positions.lineno if instruction.positions else None
            if line is not None and handler_of(instruction.argval) != handler_of(instruction.offset):
                yield line


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_loop_forgets_its_lock(path: Path) -> None:
    assert unguarded(path.read_text()) == []


def test_one_that_did_would_be_found() -> None:
    source = "def work(self):\n with self._lock:\n  while self.rows and self.size > 9:\n   self.rows.pop()\n"
    looks = dis.opmap.get("POP_JUMP_BACKWARD_IF_TRUE")
    # Python 3.11 jumps back where the condition is.
    assert unguarded(source) == ([] if looks is not None else [3])
    assert unguarded(source.replace("with self._lock", "if self._lock")) == []
