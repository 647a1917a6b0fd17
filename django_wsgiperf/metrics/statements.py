"""What of an SQL statement may be shown: its text without any value, and the code that sent it.

Parameters never come here, but people also write values into statements. Strings, numbers and comments are taken out,
so that none is stored, and so that statements that differ in nothing else are one.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from types import FrameType
from typing import Any, Final

import django
from django.apps import apps

MAX_TEXT: Final = 2048
"""Characters of a statement that are kept."""
MAX_KNOWN: Final = 1000
MAX_FRAMES: Final = 200

_COMMON = r"""%\([^()]*\)s|%s|:[^\W\d]\w*|\$\d+|@\w+)
  | (?P<comment>/\*.*?(?:\*/|\Z)|--[^\n]*)
  | (?P<value>
        \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
      | \b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
      | (?:\b[bBxXnN])?'(?:[^']|'')*(?:'|\Z)
      | (?<![\w.])\.?[0-9](?:[eE][+-][0-9]|[\w.])*
    )
"""
_FLAT = r"/\*.*?(?:\*/|\Z)"
# PostgreSQL's comments nest: what follows an inner one's end is still of the outer. Three deep will do.
_IN_COMMENT = r"(?:[^*/]|\*(?!/)|/(?!\*)|{})*(?:\*/|\Z)"
_NESTED = r"/\*" + _IN_COMMENT.format(r"/\*" + _IN_COMMENT.format(_FLAT))
_STANDARD = r"""(?P<keep>"(?:[^"]|"")*"|""" + _COMMON.replace(_FLAT, _NESTED)
# SQLite takes "text" for a string where there is no such name: which it is, _replace_of_sqlite() decides.
_SQLITE = r"""(?P<quoted>"(?:[^"]|"")*(?:"|\Z))|(?P<keep>""" + _COMMON
# MySQL and MariaDB: identifiers in backticks, values in double quotes too, backslashes escape, # begins a comment.
_MYSQL = r"""
    (?P<keep>`(?:[^`]|``)*`|%\([^()]*\)s|%s|@\w+)
  | (?P<comment>/\*.*?(?:\*/|\Z)|--\s[^\n]*|\#[^\n]*)
  | (?P<value>
        (?:\b[bBxXnN])?'(?:[^'\\]|\\.|'')*(?:'|\Z)
      | "(?:[^"\\]|\\.|"")*(?:"|\Z)
      | (?<![\w.])\.?[0-9](?:[eE][+-][0-9]|[\w.])*
    )
"""
_STANDARD_TOKENS = re.compile(_STANDARD, re.VERBOSE | re.DOTALL)
_SQLITE_TOKENS = re.compile(_SQLITE, re.VERBOSE | re.DOTALL)
_MYSQL_TOKENS = re.compile(_MYSQL, re.VERBOSE | re.DOTALL)
_SPACES = re.compile(r"\s+")
_BEFORE_A_NAME = re.compile(r"(?<!\w)(DISTINCT\s+)?(?:FROM|JOIN|INTO|UPDATE|TABLE|AS)\s+\Z", re.IGNORECASE)
_NEAR: Final = 40
"""Characters before a name that are looked at."""

# Bounded by MAX_KNOWN, after which they begin anew. Racing threads compute the same.
_known_standard: dict[str, str] = {}
_known_mysql: dict[str, str] = {}
_known_sqlite: dict[str, str] = {}


def known_texts(vendor: str) -> dict[str, str]:
    """What text_of() has found out for a kind of database: a look-up there saves the call."""
    return {"mysql": _known_mysql, "sqlite": _known_sqlite}.get(vendor, _known_standard)


def text_of(sql: Any, vendor: str) -> str:
    """The statement without a value in it, at most MAX_TEXT characters long."""
    if type(sql) is not str:
        return text_of(_as_string(sql), vendor)
    known = known_texts(vendor)
    # Bulk inserts are long, and each is another: what is not shown is not looked at.
    cut = sql if len(sql) <= MAX_TEXT else sql[:MAX_TEXT]
    text = known.get(cut)
    if text is None:
        text = without_values(cut, vendor)
        if cut is not sql:
            text = text[: MAX_TEXT - 2] + " …"
        if len(known) >= MAX_KNOWN:
            known.clear()
        known[cut] = text
    return text


def without_values(sql: str, vendor: str) -> str:
    """`?` for every value, nothing for comments, and one space for each blank part."""
    if vendor == "sqlite":
        text = _SQLITE_TOKENS.sub(_replace_of_sqlite, sql)
    else:
        text = (_MYSQL_TOKENS if vendor == "mysql" else _STANDARD_TOKENS).sub(_replace, sql)
    return _SPACES.sub(" ", text).strip()


def _replace(found: re.Match[str]) -> str:
    if found["keep"] is not None:
        return found["keep"]
    return "?" if found["value"] is not None else " "


def _replace_of_sqlite(found: re.Match[str]) -> str:
    """What is in double quotes stays only where it must be a name: beside a dot, after a word that a table or an alias
    follows, or as a table or column of a model. Else it may be a string that somebody wrote into the statement."""
    quoted = found["quoted"]
    if quoted is None:
        return _replace(found)
    sql, begin, end = found.string, found.start(), found.end()
    closed = len(quoted) > 1 and quoted.endswith('"')
    if closed and (sql[end : end + 1] == "." or sql[begin - 1 : begin] == "." or quoted[1:-1] in _names_of_models()):
        return quoted
    before = _BEFORE_A_NAME.search(sql, max(0, begin - _NEAR), begin)
    # After IS DISTINCT FROM comes a value.
    return quoted if closed and before is not None and not before[1] else "?"


_names: tuple[Any, frozenset[str]] = ((), frozenset())
"""What the registry last gave, and the names in it."""


def _names_of_models() -> frozenset[str]:
    """Every table and column of the project's models."""
    global _names
    if not apps.models_ready:
        return frozenset()
    models: Any = apps.get_models(include_auto_created=True)  # The same object until they change.
    known, names = _names
    if known is not models:
        tables = {model._meta.db_table for model in models}
        columns = {field.column for model in models for field in model._meta.local_concrete_fields}
        names = frozenset(tables | columns)
        _names = models, names
    return names


def _as_string(sql: Any) -> str:
    """Statements that are no plain strings: bytes, subclasses of str, and psycopg's composed ones."""
    if isinstance(sql, str):
        return str(sql)
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    return _composed(sql)


def _composed(part: Any) -> str:
    """psycopg.sql, which need not be installed: its literals are values."""
    kind = type(part).__name__ if type(part).__module__.startswith("psycopg") else ""
    if kind in ("Composed", "SQL", "Identifier"):
        inner = part._obj
        if kind == "Composed":
            return "".join(_composed(each) for each in inner)
        return ".".join(f'"{name}"' for name in inner) if kind == "Identifier" else str(inner)
    if kind == "Placeholder":
        return "%s"
    return "?" if kind else f"({type(part).__name__})"


# -- where a statement came from

_DJANGO: Final = os.path.dirname(django.__file__) + os.sep
_THIS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARIES: Final = tuple(
    sorted({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib", "stdlib", "platstdlib")})
)
# File -> (rank, its short name); bounded like the others.
_places: dict[str, tuple[int, str]] = {}


def call_site(frame: FrameType | None = None) -> str:
    """`file:line in function` of the project's code that the running thread is in; else that of a library.

    Empty where only Django and this package are at work."""
    second = ""
    frame = frame or sys._getframe(1)
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        rank, name = _place(frame.f_code.co_filename)
        if rank == 0:
            return f"{name}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        if rank == 1 and not second:
            second = f"{name}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        frame = frame.f_back
    return second


def _place(file: str) -> tuple[int, str]:
    """0 the project's, 1 a library's, 2 what is never to blame; and the file's name as one imports it."""
    found = _places.get(file)
    if found is None:
        if file.startswith((_DJANGO, _THIS, "<")):
            rank = 2
        elif f"{os.sep}site-packages{os.sep}" in file:
            rank = 1
        else:
            # The standard library runs what it is given, such as in a thread.
            rank = 2 if file.startswith(_LIBRARIES) else 0
        if len(_places) >= MAX_KNOWN:
            _places.clear()
        found = _places[file] = (rank, short_path(file))
    return found


def short_path(file: str) -> str:
    """A source file's path below the folder that it is imported from."""
    best = max(
        (root for root in sys.path if root and file.startswith(root.rstrip(os.sep) + os.sep)), key=len, default=""
    )
    return file[len(best.rstrip(os.sep)) + 1 :] if best else file
