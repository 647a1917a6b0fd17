"""How an option of the table in conf.py is declared, and what can be derived from the declaration.

A dataclass field becomes an `Option`: its key, environment name, flag, unit and limits. No value is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, get_type_hints

from django_wsgiperf._conf_errors import Conflict

#: The longest time any option takes: a day. Far above it the operating system's own timers overflow.
LONGEST_S = 86_400.0


class Kind(StrEnum):
    """What a value is. Follows from the field's type and the unit at the end of its name."""

    BOOL = "true or false"
    INT = "a whole number"
    SIZE = "a number of bytes"
    FLOAT = "a number"
    TIME = "a time"
    TEXT = "a text"
    LIST = "a list of texts"


class Format(StrEnum):
    """What a text, or each text of a list, must look like."""

    ADDRESS = "address"
    NETWORK = "network"
    URL_PATH = "path"
    INPUT_FILE = "file"
    OUTPUT_FILE = "output file"
    FOLDER = "folder"
    TOKEN = "token"
    HTTP_URL = "http address"
    DOTTED_PATH = "dotted path"
    DATABASE_ERROR = "database error"
    FIELD_NAME = "field name"
    COOKIE = "cookie name"


class Section:
    """Base of the option tables. A table is a frozen dataclass; its fields are made by `option()`."""

    __slots__ = ()

    def conflicts(self) -> Iterable[Conflict]:
        """Say which of the values do not go together."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: all that the settings, the environment, the command line and the docs need to know."""

    section: str
    name: str
    kind: Kind
    default: Any
    help: str
    group: str
    unit: str
    min: float | None
    max: float | None
    choices: tuple[str, ...]
    format: Format | None
    auto: bool
    secret: bool

    @property
    def key(self) -> str:
        """The key inside the section's dictionary: `THREADS`."""
        return self.name.upper()

    @property
    def settings_name(self) -> str:
        return f"WSGIPERF[{self.section!r}][{self.key!r}]"

    @property
    def environment_name(self) -> str:
        """`WSGIPERF_THREADS`; the server's options, which are set most, go without their section's name."""
        prefix = "WSGIPERF_" if self.section == "SERVER" else f"WSGIPERF_{self.section}_"
        return prefix + self.key

    @property
    def flag(self) -> str:
        """The command line's option. It takes values with units, so its name goes without one."""
        bare = self.name
        for suffix in ("_s", "_ms", "_bytes"):
            bare = bare.removesuffix(suffix)
        return "--" + bare.replace("_", "-")

    @property
    def range_text(self) -> str:
        """The allowed range in words: `1 to 1024`, `at least 1`, or nothing."""
        if self.kind is Kind.LIST:
            return f"at least {self.min:g} of them" if self.min else ""
        if self.min is not None and self.max is not None:
            return f"{self.min:,.10g} to {self.max:,.10g}".replace(",", "_")
        if self.min is not None:
            return f"at least {self.min:,.10g}".replace(",", "_")
        return ""


def option(
    default: Any,
    help: str,
    *,
    group: str = "",
    unit: str = "",
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] = (),
    format: Format | None = None,
    auto: bool = False,
    secret: bool = False,
) -> Any:
    """Declare one option: its default, a sentence on what it does, and its limits.

    `group` names the heading that starts at this option and holds until the next. For a list, `min` counts
    its entries. `auto` allows "auto", one per CPU core. A `secret` is never shown, nor in the table's repr.
    """
    metadata = {
        "help": help,
        "group": group,
        "unit": unit,
        "min": min,
        "max": max,
        "choices": choices,
        "format": format,
        "auto": auto,
        "secret": secret,
    }
    return field(default=default, repr=not secret, metadata=metadata)


def options_of(section: str, table: type[Any]) -> tuple[Option, ...]:
    """The options of one table, in the order they are written in."""
    return _options_of(section, table)  # type: ignore[arg-type]  # a class is hashable


@cache
def _options_of(section: str, table: type[Any]) -> tuple[Option, ...]:
    hints = get_type_hints(table)
    found: list[Option] = []
    group = ""
    for item in fields(table):
        declared = dict(item.metadata)
        group = declared["group"] = declared["group"] or group
        kind, unit = _kind_of(item.name, hints[item.name])
        declared["unit"] = declared["unit"] or unit
        if kind is Kind.TIME and declared["max"] is None:
            declared["max"] = LONGEST_S if unit == "s" else LONGEST_S * 1000
        found.append(Option(section=section, name=item.name, kind=kind, default=item.default, **declared))
    return tuple(found)


def _kind_of(name: str, hint: object) -> tuple[Kind, str]:
    if hint is float and name.endswith("_ms"):
        return Kind.TIME, "ms"
    if hint is float and name.endswith("_s"):
        return Kind.TIME, "s"
    if hint is int and name.endswith("_bytes"):
        return Kind.SIZE, "bytes"
    plain = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT, str: Kind.TEXT, tuple[str, ...]: Kind.LIST}
    return plain[hint], ""  # type: ignore[index]
