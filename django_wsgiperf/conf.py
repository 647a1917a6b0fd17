"""The WSGIPERF setting: every option of the project, its type, range, default and help text.

One table for each section (the frozen dataclasses in `_conf_server` and its like) drives the settings, the
environment variables, the command line of `serve`, `--print-config` and docs/settings.md. Values flow from here
outward; nothing is read at import. How they are read, checked and shown is in the other `_conf_*` modules; the rest
of the project uses this one only.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, overload

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_wsgiperf import _conf_cli, _conf_resolve
from django_wsgiperf._conf_cache import CacheSettings
from django_wsgiperf._conf_errors import (
    MASK,
    ConfigurationError,
    Origin,
    Problem,
    ProblemKind,
    Source,
)
from django_wsgiperf._conf_metrics import MetricsSettings
from django_wsgiperf._conf_options import Option, Section, options_of
from django_wsgiperf._conf_pool import PoolSettings
from django_wsgiperf._conf_resolve import Resolved, Row
from django_wsgiperf._conf_server import ServerSettings
from django_wsgiperf._conf_values import cpu_cores

__all__ = [
    "MASK",
    "SECTIONS",
    "CacheSettings",
    "ConfigurationError",
    "MetricsSettings",
    "Option",
    "Origin",
    "PoolSettings",
    "Problem",
    "ProblemKind",
    "Resolved",
    "Row",
    "ServerSettings",
    "Source",
    "add_arguments",
    "adopt",
    "cpu_cores",
    "current",
    "describe",
    "forget",
    "from_namespace",
    "load",
    "options",
    "overlay",
    "server_settings",
    "serving_threads",
]

T = TypeVar("T")

#: Every section of WSGIPERF and its table.
SECTIONS: dict[str, type[Section]] = {
    "SERVER": ServerSettings,
    "POOL": PoolSettings,
    "CACHE": CacheSettings,
    "METRICS": MetricsSettings,
}


def options(section: str = "SERVER") -> tuple[Option, ...]:
    """The options of a section, in the order of its table."""
    return options_of(section, SECTIONS[section])


@overload
def load(
    section: Literal["SERVER"] = ...,
    cli: Mapping[str, object] | None = ...,
    environ: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Resolved[ServerSettings]: ...
@overload
def load(
    section: Literal["POOL"],
    cli: Mapping[str, object] | None = ...,
    environ: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Resolved[PoolSettings]: ...
@overload
def load(
    section: Literal["CACHE"],
    cli: Mapping[str, object] | None = ...,
    environ: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Resolved[CacheSettings]: ...
@overload
def load(
    section: Literal["METRICS"],
    cli: Mapping[str, object] | None = ...,
    environ: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Resolved[MetricsSettings]: ...
@overload
def load(
    section: str,
    cli: Mapping[str, object] | None = ...,
    environ: Mapping[str, str] | None = ...,
    settings: Mapping[str, object] | None = ...,
) -> Resolved[Any]: ...
def load(
    section: str = "SERVER",
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Resolved[Any]:
    """Read one section anew: command line over environment over settings over defaults.

    `cli` comes from `from_namespace`; `environ` is the process's own unless given; `settings` is the WSGIPERF
    dictionary, taken from Django's settings unless given, and empty as long as those are not configured (a
    worker under `gunicorn -k` therefore loads the application first). Raises `ConfigurationError` with every
    problem.
    """
    # The raw values stay out of this frame: an error page shows the variables of each frame, also secrets.
    outcome = _conf_resolve.resolve(
        SECTIONS,
        section,
        {} if cli is None else cli,
        os.environ if environ is None else environ,
        _configured_setting() if settings is None else settings,
    )
    if isinstance(outcome, ConfigurationError):
        raise outcome
    return outcome


def overlay(base: Resolved[T], name: str, setting: object) -> Resolved[T]:
    """A section with the keys of a dictionary elsewhere in the settings on top of it.

    `name` is that dictionary as one writes it, `DATABASES['default']['POOL']`: it is part of the origins. Raises
    `ConfigurationError` with every problem.
    """
    outcome = _conf_resolve.overlay(base, name, setting)
    if isinstance(outcome, ConfigurationError):
        raise outcome
    return outcome


def _configured_setting() -> object:
    return getattr(django_settings, "WSGIPERF", {}) if django_settings.configured else {}


#: What `current` gives, by section. Filled on first use; a race between threads only reads the same twice.
_current: dict[str, Resolved[Any]] = {}
#: The sections of which a server said that this process runs with them.
_adopted: set[str] = set()


@overload
def current(section: Literal["SERVER"] = ...) -> Resolved[ServerSettings]: ...
@overload
def current(section: Literal["POOL"]) -> Resolved[PoolSettings]: ...
@overload
def current(section: Literal["CACHE"]) -> Resolved[CacheSettings]: ...
@overload
def current(section: Literal["METRICS"]) -> Resolved[MetricsSettings]: ...
@overload
def current(section: str) -> Resolved[Any]: ...
def current(section: str = "SERVER") -> Resolved[Any]:
    """The section as this process runs with it: what `serve` adopted, or else what `load` finds, read once.

    A change of the WSGIPERF setting by `override_settings` is seen at once, one of the environment after
    `forget`.
    """
    resolved = _current.get(section)
    if resolved is None:
        resolved = load(section)
        if django_settings.configured:
            _current[section] = resolved
    return resolved


def server_settings() -> ServerSettings:
    """The values of `WSGIPERF["SERVER"]` that this process runs with."""
    return current("SERVER").values


def adopt(resolved: Resolved[Any]) -> None:
    """Make `resolved`, which may hold values from a command line, what `current` gives in this process."""
    _current[resolved.section] = resolved
    _adopted.add(resolved.section)


def serving_threads() -> int | None:
    """The threads of the server that this process is, or is about to be; None in any other process."""
    return server_settings().threads if "SERVER" in _adopted else None


def forget() -> None:
    """Have `current` read everything again."""
    _current.clear()
    _adopted.clear()


@receiver(setting_changed, dispatch_uid="django_wsgiperf.conf")
def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting == "WSGIPERF":
        forget()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the server's options: addresses, and one flag for every other key."""
    _conf_cli.add_arguments(parser, ServerSettings)


def from_namespace(options: Mapping[str, object] | argparse.Namespace) -> dict[str, object]:
    """What was given on the command line, for `load(cli=...)`. Takes a management command's options too."""
    return _conf_cli.from_namespace(options, ServerSettings)


def describe(resolved: Resolved[Any]) -> list[Row]:
    """Every option with its value for display, secrets masked, and where it was set."""
    return _conf_resolve.describe(resolved, SECTIONS[resolved.section])
