"""From what was written to a value that holds: texts are read, types and limits checked, values shown.

The environment and the command line bring texts and go through `read_text`; settings bring Python values and
go through `read_value`. Both end in the same checks. `show` is the way back: `read_text` reads what it gives.
"""

from __future__ import annotations

import contextlib
import decimal
import math
import os
import re
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any

from django_wsgiperf._conf_errors import MASK, ProblemKind, Refused
from django_wsgiperf._conf_formats import VALIDATORS
from django_wsgiperf._conf_options import Format, Kind, Option

BOOLEANS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
SIZES = {"": 1, "b": 1} | {
    prefix + ending: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for ending, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
#: Times in microseconds, so that every unit is a whole number.
TIMES = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}

INTEGER = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?) ?([a-z]*)", re.I)
SUFFIXES = {
    Kind.SIZE: "bytes, or a number with k, M, G (1000) or KiB, MiB, GiB (1024)",
    Kind.TIME: "a number with us, ms, s, m, h or d",
}


def cpu_cores() -> int:
    """How many cores this process may use, which can be fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(cpu_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))))


def cpu_quota(root: Path, membership: Path) -> float:
    """The cores that Linux' control groups, of either version, allow to a container; a million without a limit."""
    allowed = 1e6
    with contextlib.suppress(OSError, ValueError):
        for line in membership.read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            if not controllers:  # Version 2.
                top, names = root, ["cpu.max"]
            elif "cpu" in controllers.split(","):
                top, names = root / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            else:
                continue
            # A container sees its own group as the root; a service of systemd is a folder below it.
            group = top / own.lstrip("/")
            for folder in (group, *group.parents):
                with contextlib.suppress(FileNotFoundError):
                    quota, period = " ".join((folder / name).read_text() for name in names).split()
                    if quota not in ("max", "-1"):
                        allowed = min(allowed, int(quota) / int(period))
                if folder == top:
                    break
    return allowed


def quote(option: Option, raw: object) -> str:
    """A raw value for a message: short, and masked when it is a secret."""
    if option.secret:
        return MASK
    short = Repr()
    short.maxstring = short.maxother = 80
    try:
        return short.repr(raw)
    except ValueError:  # Python does not write out integers of thousands of digits
        return f"<{type(raw).__name__}>"


def read_text(option: Option, text: str) -> Any:
    """The value that a text from the environment or the command line stands for. Raises `Refused`."""
    stripped = text.strip()
    if option.kind is Kind.TEXT:
        return read_value(option, text)
    if option.kind is Kind.LIST:
        return read_value(option, tuple(part.strip() for part in stripped.split(",") if part.strip()))
    if option.auto and stripped.lower() == "auto":
        return read_value(option, "auto")
    if not stripped:
        raise Refused(ProblemKind.TYPE, "it is set, but empty", f"write {expected(option)}, or do not set it")
    if option.kind is Kind.BOOL:
        if stripped.lower() not in BOOLEANS:
            raise _not_a(option, text, "write one of " + ", ".join(BOOLEANS))
        return BOOLEANS[stripped.lower()]
    return read_value(option, _number(option, stripped))


def _number(option: Option, text: str) -> int | float:
    if option.kind is Kind.INT:
        # int() refuses numbers of thousands of digits by an error of its own; nothing here has twenty.
        if not INTEGER.fullmatch(text) or len(text) > 20:
            raise _not_a(option, text)
        return int(text)
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise _not_a(option, text)
    digits, suffix = found[1], found[2].lower()
    units, base = _units(option)
    if suffix not in units:
        raise Refused(
            ProblemKind.TYPE,
            f"{found[2]!r} in {text!r} is no unit",
            f"write {SUFFIXES.get(option.kind, 'none')}",
        )
    try:
        amount = Decimal(digits) * units[suffix] / base
    except decimal.DecimalException:
        raise _not_a(option, text) from None
    if option.kind is not Kind.SIZE:
        return float(amount)
    # int() would write out all the zeros of 1e99999999.
    if amount.adjusted() > 30:
        raise _not_a(option, text)
    if amount != amount.to_integral_value():
        raise Refused(ProblemKind.TYPE, f"{text!r} is not a whole number of bytes", f"write {expected(option)}")
    return int(amount)


def _units(option: Option) -> tuple[dict[str, int], int]:
    """The suffixes that go with the option, and the one that its value is counted in."""
    if option.kind is Kind.TIME:
        base = TIMES[option.unit]
        return {**TIMES, "": base}, base
    return (SIZES if option.kind is Kind.SIZE else {"": 1}), 1


def read_value(option: Option, raw: object) -> Any:
    """`raw`, once it is known to have the option's type, range and format. Raises `Refused`.

    Whole numbers become floats and lists become tuples where the table says so; a path becomes its text;
    "auto" becomes the number of cores.
    """
    value = _typed(option, raw)
    if option.kind is Kind.LIST:
        if option.min and len(value) < option.min:
            raise Refused(ProblemKind.RANGE, "the list is empty", f"write at least {option.min:g} entry")
    elif option.min is not None or option.max is not None:
        _check_range(option, value)
    for choice in value if option.choices and option.kind is Kind.LIST else (value,) if option.choices else ():
        if choice not in option.choices:
            close = get_close_matches(choice.lower(), option.choices, n=1)
            remedy = f"write {close[0]!r}" if close else "write one of " + ", ".join(map(repr, option.choices))
            raise Refused(ProblemKind.RANGE, f"{quote(option, choice)} is not among the choices", remedy)
    if option.format is not None:
        for text in value if option.kind is Kind.LIST else (value,):
            VALIDATORS[option.format](text)
    if option.kind is Kind.LIST and "" in value:
        # What "".split(",") gives. As the beginning of a path it would be that of every one.
        raise Refused(ProblemKind.FORMAT, "an entry is empty", f"write {tuple(filter(None, value))!r}")
    return value


def _typed(option: Option, raw: object) -> Any:
    match option.kind:
        case Kind.BOOL:
            if isinstance(raw, bool):
                return raw
        case Kind.INT | Kind.SIZE:
            if option.auto and raw == "auto":
                return max(1, min(cpu_cores(), int(option.max or cpu_cores())))
            if isinstance(raw, int) and not isinstance(raw, bool):
                if raw.bit_length() > 63:
                    raise Refused(
                        ProblemKind.RANGE,
                        f"a number of {raw.bit_length()} bits is too large",
                        f"write {expected(option)}",
                    )
                return int(raw)
        case Kind.FLOAT | Kind.TIME:
            if isinstance(raw, int | float) and not isinstance(raw, bool):
                return _finite(option, raw)
        case Kind.TEXT:
            if isinstance(raw, os.PathLike) and option.format in (Format.INPUT_FILE, Format.OUTPUT_FILE, Format.FOLDER):
                raw = os.fspath(raw)
            if isinstance(raw, str):
                return str(raw)
        case Kind.LIST:
            if isinstance(raw, tuple | list) and all(isinstance(item, str) for item in raw):
                return tuple(str(item) for item in raw)
    message = f"{quote(option, raw)} ({type(raw).__name__}) is not {option.kind}"
    raise Refused(ProblemKind.TYPE, message, _meant(option, raw) or f"write {expected(option)}")


def _finite(option: Option, raw: float) -> float:
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise Refused(ProblemKind.TYPE, f"{quote(option, raw)} is not a finite number", f"write {expected(option)}")
    return value


def _check_range(option: Option, value: float) -> None:
    if option.min is not None and value < option.min:
        message = f"{show(option, value)} is below the smallest value, {show(option, option.min)}"
    elif option.max is not None and value > option.max:
        message = f"{show(option, value)} is above the largest value, {show(option, option.max)}"
    else:
        return
    raise Refused(ProblemKind.RANGE, message, f"write {expected(option)}")


def _not_a(option: Option, raw: object, remedy: str = "") -> Refused:
    """The refusal of a value of the wrong type."""
    message = f"{quote(option, raw)} is not {option.kind}"
    return Refused(ProblemKind.TYPE, message, remedy or f"write {expected(option)}")


def _meant(option: Option, raw: object) -> str:
    """What to write instead of a text in the settings that reads as the right value, without its quotes."""
    if not isinstance(raw, str) or option.secret or option.kind is Kind.TEXT:
        return ""
    try:
        value = read_text(option, raw)
    except Refused:
        return ""
    return f"write {value!r}" + (", without quotes" if option.kind is not Kind.LIST else "")


def expected(option: Option) -> str:
    """What a valid value is, in words: `a whole number from 1 to 1024`."""
    words = "one of " + ", ".join(map(repr, option.choices)) if option.choices else str(option.kind)
    if option.choices and option.kind is Kind.LIST:
        words = "a list of " + ", ".join(map(repr, option.choices))
    if option.kind is Kind.TIME:
        words = "milliseconds" if option.unit == "ms" else "seconds"
    if option.range_text and option.kind is not Kind.LIST:
        words += f", {option.range_text}" if option.min is None or option.max is None else f" from {option.range_text}"
    return words + (', or "auto"' if option.auto else "")


def show(option: Option, value: Any) -> str:
    """A value as text, with its unit, never a secret. `read_text` reads it back."""
    if option.secret:
        return MASK if value else ""
    match option.kind:
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.TIME:
            return f"{_plain(value)} {option.unit}"
        case Kind.SIZE:
            for suffix in ("GiB", "MiB", "KiB"):
                if value and value % SIZES[suffix.lower()] == 0:
                    return f"{int(value) // SIZES[suffix.lower()]} {suffix}"
            return str(int(value))
        case Kind.FLOAT:
            return _plain(value)
        case Kind.LIST:
            return ", ".join(value)
        case _:
            return str(value)


def _plain(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
