"""The subcommands of `manage.py wsgiperf`: each module here is one, except those that begin with an underscore.

The frame is commands/wsgiperf.py. A module has `help` (a line), `add_arguments(parser)`, `handle(command, options)` and
may have `examples`; nothing heavy is imported before `handle` runs, since all are imported to know their arguments.
"""

from __future__ import annotations

import pkgutil
from argparse import ArgumentParser
from importlib import import_module
from typing import Any, Final, Protocol, cast

from django.core.management.base import BaseCommand, CommandError

#: Exit codes. What a subcommand finds wrong, or cannot do, is a finding; what it cannot understand is usage.
FINDINGS: Final = 1
USAGE: Final = 2


class Subcommand(Protocol):
    """What a module here offers."""

    help: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments, beside those that every management command has."""

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> int | None:
        """Do it; the exit code, None for 0. `command` has the streams and the style."""


class UsageError(CommandError):
    """It cannot be understood as it was written, or not under the settings as they are: exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=USAGE)


def subcommands() -> dict[str, Subcommand]:
    """Name -> module, in the order of the alphabet."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: cast("Subcommand", import_module(f"{__name__}.{name}")) for name in names}
