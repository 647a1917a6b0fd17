"""The option table as an argparse command line.

Texts are passed on as they were typed, and only those that were typed: reading them, and complaining about
all of them at once, is the resolver's work.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from django_wsgiperf._conf_options import Kind, Option, options_of
from django_wsgiperf._conf_values import show

METAVARS = {
    Kind.INT: "N",
    Kind.SIZE: "SIZE",
    Kind.FLOAT: "NUMBER",
    Kind.TIME: "TIME",
    Kind.TEXT: "TEXT",
    Kind.LIST: "A,B",
}


def add_arguments(parser: argparse.ArgumentParser, table: type[Any]) -> None:
    """Give `parser` one option for each option of the server, under the headings of the table."""
    parser.add_argument(
        "bind",
        nargs="*",
        metavar="address",
        default=argparse.SUPPRESS,
        help="host:port, [v6]:port, unix:path or fd://N (default: 127.0.0.1:8000)",
    )
    groups: dict[str, Any] = {}
    for option in options_of("SERVER", table):
        if option.name == "bind":
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)


def _add(group: Any, option: Option) -> None:
    # SUPPRESS keeps what was not typed out of the namespace, where it could not be told from a typed default.
    common = {"dest": option.name, "default": argparse.SUPPRESS, "help": _help(option)}
    if option.kind is Kind.BOOL:
        group.add_argument(option.flag, action=argparse.BooleanOptionalAction, **common)
    else:
        one_of = option.choices and option.kind is not Kind.LIST
        metavar = "{" + ",".join(option.choices) + "}" if one_of else METAVARS[option.kind]
        group.add_argument(option.flag, metavar=metavar, **common)


def _help(option: Option) -> str:
    text = option.help
    if option.choices and option.kind is Kind.LIST:
        text += f": any of {', '.join(option.choices)}, separated by commas"
    # Of a switch, the name tells. An empty default is no value, and the help says what it means where that matters.
    if option.kind is not Kind.BOOL and option.default not in ("", ()):
        text += f" (default: {_written(option)})"
    return text.replace("%", "%%")


def _written(option: Option) -> str:
    """The default as it would be typed."""
    return show(option, option.default).replace(" ", "")


def from_namespace(options: Mapping[str, object] | argparse.Namespace, table: type[Any]) -> dict[str, object]:
    """The values that were given on the command line, by field name, out of all that argparse found."""
    given = vars(options) if isinstance(options, argparse.Namespace) else options
    names = {option.name for option in options_of("SERVER", table)}
    return {name: value for name, value in given.items() if name in names and value is not None}
