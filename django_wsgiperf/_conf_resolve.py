"""Three layers of raw values become one table: settings, over them the environment, then the command line.

Every layer is read to its end and every problem is kept, so that a user hears of all of them at once. Raw
values come in as mappings; nothing here knows Django or argparse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

from django_wsgiperf._conf_errors import (
    DEFAULT,
    ConfigurationError,
    Conflict,
    Origin,
    Problem,
    ProblemKind,
    Refused,
    Source,
    nearest,
)
from django_wsgiperf._conf_options import Option, Section, options_of
from django_wsgiperf._conf_values import quote, read_text, read_value, show

T = TypeVar("T")
Sections = Mapping[str, type[Section]]

PREFIX = "WSGIPERF_"
INTERNAL = "WSGIPERF__"
#: Kubernetes tells every pod about a service that is called `wsgiperf`, or `wsgiperf-...`, by such names.
SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """The values of one section, and by field name where each was set."""

    section: str
    values: T
    origins: Mapping[str, Origin]


@dataclass(frozen=True, slots=True)
class Raw:
    """A value as it was found. `name` is the option's field name."""

    name: str
    value: object
    origin: Origin


def resolve(
    sections: Sections,
    section: str,
    cli: Mapping[str, object],
    environ: Mapping[str, str],
    setting: object,
) -> Resolved[Any] | ConfigurationError:
    """The section's values, or all problems. The error is returned, so that no traceback holds raw values."""
    table = sections[section]
    options = {option.name: option for option in options_of(section, table)}
    found = (
        *_from_settings(sections, section, setting),
        *_from_environment(sections, section, environ),
        *_from_command_line(options, cli),
    )
    return _merge(Resolved(section, table(), dict.fromkeys(options, DEFAULT)), options, found)


def overlay(base: Resolved[Any], name: str, setting: object) -> Resolved[Any] | ConfigurationError:
    """A section with the keys of a dictionary elsewhere in the settings on top. `name` is that dictionary's."""
    options = {option.name: option for option in options_of(base.section, type(base.values))}
    return _merge(base, options, tuple(_from_dictionary(options, name, setting)))


def _merge(
    base: Resolved[Any], options: Mapping[str, Option], layers: Iterable[Raw | Problem]
) -> Resolved[Any] | ConfigurationError:
    """The base with what was found over it, the later over the earlier; or all problems."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    origins = dict(base.origins)
    wrong: set[str] = set()
    for found in layers:
        if isinstance(found, Problem):
            problems.append(found)
            continue
        option = options[found.name]
        try:
            values[found.name] = _read(option, found)
            origins[found.name] = found.origin
        except Refused as refused:
            problems.append(_problem(option, found, refused))
            wrong.add(found.name)
    resolved = Resolved(base.section, replace(base.values, **values), origins)
    problems += [
        _conflict(options, resolved, conflict)
        for conflict in resolved.values.conflicts()
        if not wrong & set(conflict.names)
    ]
    return ConfigurationError(problems) if problems else resolved


def _read(option: Option, found: Raw) -> Any:
    if found.origin.source is not Source.SETTINGS and isinstance(found.value, str):
        return read_text(option, found.value)
    return read_value(option, found.value)


def _from_settings(sections: Sections, section: str, setting: object) -> Iterator[Raw | Problem]:
    if not isinstance(setting, Mapping):
        origin = Origin(Source.SETTINGS, "WSGIPERF")
        message = f"it is of type {type(setting).__name__}, not a dictionary"
        yield Problem(ProblemKind.TYPE, "WSGIPERF", "", origin, message, "write WSGIPERF = {'SERVER': {'THREADS': 12}}")
        return
    for key in setting:
        if key not in sections:
            yield _unknown_section(sections, key)
    options = {option.name: option for option in options_of(section, sections[section])}
    yield from _from_dictionary(options, f"WSGIPERF[{section!r}]", setting.get(section, {}))


def _from_dictionary(options: Mapping[str, Option], name: str, inner: object) -> Iterator[Raw | Problem]:
    """The keys of one dictionary, whose name is as one writes it in Python."""
    keys = {option.key: option.name for option in options.values()}
    if not isinstance(inner, Mapping):
        section = next(iter(options.values())).section
        message = f"it is of type {type(inner).__name__}, not a dictionary"
        remedy = f"write {{'{next(iter(keys))}': ...}}"
        yield Problem(ProblemKind.TYPE, section, "", Origin(Source.SETTINGS, name), message, remedy)
        return
    for key, value in inner.items():
        origin = Origin(Source.SETTINGS, f"{name}[{key!r}]")
        if key in keys:
            yield Raw(keys[key], value, origin)
        else:
            yield _unknown(key, origin, list(keys), f"there is no such key in {name}")


def _unknown_section(sections: Sections, key: object) -> Problem:
    origin = Origin(Source.SETTINGS, f"WSGIPERF[{key!r}]")
    message = "there is no such section in WSGIPERF"
    for section, table in sections.items():
        for option in options_of(section, table):
            if isinstance(key, str) and key.upper() == option.key:
                remedy = f"write WSGIPERF = {{{section!r}: {{{option.key!r}: ...}}}}"
                return Problem(ProblemKind.UNKNOWN, key, "", origin, message, remedy, section)
    return _unknown(key, origin, list(sections), message)


def _from_environment(sections: Sections, section: str, environ: Mapping[str, str]) -> Iterator[Raw | Problem]:
    names = {option.environment_name: option for name, table in sections.items() for option in options_of(name, table)}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name.startswith(INTERNAL):
            continue
        if name in names:
            if names[name].section == section:
                yield Raw(names[name].name, text, Origin(Source.ENVIRONMENT, name))
        elif not (SERVICE_LINK.search(name) or (name.endswith("_PORT") and SERVICE_URL.match(text))):
            yield _unknown(
                name,
                Origin(Source.ENVIRONMENT, name),
                list(names),
                "no option has such an environment variable",
            )


def _from_command_line(options: Mapping[str, Option], cli: Mapping[str, object]) -> Iterator[Raw | Problem]:
    for name, value in cli.items():
        if name not in options:
            origin = Origin(Source.COMMAND_LINE, name)
            yield _unknown(name, origin, [option.key for option in options.values()], "there is no such option")
            continue
        flag = "addresses" if name == "bind" else options[name].flag
        if value is False:
            flag = flag.replace("--", "--no-", 1)
        yield Raw(name, value, Origin(Source.COMMAND_LINE, flag))


def _unknown(key: object, origin: Origin, names: list[str], message: str) -> Problem:
    """The value of an unknown key is not shown: it may be a secret under a misspelt name."""
    if not isinstance(key, str):
        remedy = "write the key as a text in capital letters"
        return Problem(ProblemKind.UNKNOWN, repr(key), "", origin, message, remedy)
    meant = nearest(key, names, PREFIX)
    remedy = f"write {meant}" if meant else "remove it; no name that there is comes near to it"
    return Problem(ProblemKind.UNKNOWN, key, "", origin, message, remedy, meant)


def _problem(option: Option, found: Raw, refused: Refused) -> Problem:
    value = quote(option, found.value)
    return Problem(refused.kind, option.key, value, found.origin, refused.message, refused.remedy)


def _conflict(options: Mapping[str, Option], resolved: Resolved[Any], conflict: Conflict) -> Problem:
    """Blame the option that was set most deliberately; say what the others are and where they come from."""
    blamed = max(conflict.names, key=lambda name: resolved.origins[name].source.rank)
    shown = {name: show(options[name], getattr(resolved.values, name)) for name in conflict.names}
    others = [
        f"{options[name].key} is {shown[name] or 'empty'}, {resolved.origins[name]}"
        for name in conflict.names
        if name != blamed
    ]
    message = "; ".join([conflict.message, *others])
    return Problem(
        ProblemKind.CONFLICT,
        options[blamed].key,
        shown[blamed],
        resolved.origins[blamed],
        message,
        conflict.remedy,
    )


class Row(NamedTuple):
    """One line of `--print-config`."""

    key: str
    value: str
    origin: str
    help: str


def describe(resolved: Resolved[Any], table: type[Section]) -> list[Row]:
    """Every option with its value for display, secrets masked, and where it was set."""
    return [
        Row(
            option.key,
            show(option, getattr(resolved.values, option.name)) or "(empty)",
            str(resolved.origins[option.name]),
            option.help,
        )
        for option in options_of(resolved.section, table)
    ]
