"""`manage.py wsgiperf SUBCOMMAND`: one name for all that is done from a terminal, apart from serving.

Only the frame: it finds the subcommands in management/wsgiperf, gives each the options that every command of Django
has, on either side of its name, and turns what they return and raise into exit codes.
"""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.core.management.color import no_style

from django_wsgiperf.management.wsgiperf import USAGE, UsageError, subcommands

EXIT_CODES = "exit codes: 0 done, nothing found; 1 something was found wrong, or failed; 2 not understood"


class _Formatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of the options, and examples as they are written."""


class _SubcommandParser(CommandParser):
    """Takes arguments and options in any order, where argparse would have all arguments stand together."""

    _is_intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._is_intermixed:
            return super().parse_known_args(args, namespace)
        self._is_intermixed = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixed = False


class Command(BaseCommand):
    help = "Look after django-wsgiperf: its settings, its pages, its numbers."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        kwargs.setdefault("formatter_class", _Formatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        self._parser = parser
        parser.epilog = EXIT_CODES
        chosen = parser.add_subparsers(
            dest="subcommand",
            metavar="SUBCOMMAND",
            title="subcommands",
            parser_class=_SubcommandParser,
            description="`wsgiperf SUBCOMMAND --help` tells more of each.",
        )
        self._subcommands = subcommands()
        for name, module in self._subcommands.items():
            examples = getattr(module, "examples", "")
            below = chosen.add_parser(
                name,
                help=module.help,
                description=module.help,
                epilog="\n\n".join(filter(None, (examples.strip(), EXIT_CODES))),
                formatter_class=_Formatter,
            )
            module.add_arguments(below)
            _add_common_arguments(below)

    def execute(self, *args: Any, **options: Any) -> Any:
        if os.environ.get("NO_COLOR") and not options["force_color"]:
            options["no_color"] = True
        if options["no_color"]:
            self.style = no_style()
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["subcommand"] is None:
            self.stderr.write(self._parser.format_help(), lambda text: text)
            sys.exit(USAGE)
        try:
            code = self._subcommands[options["subcommand"]].handle(self, options)
            self.stdout.flush()
        except ImproperlyConfigured as error:  # Wrong settings (ConfigurationError), or a store that cannot be used.
            raise UsageError(str(error)) from None
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # Whoever reads has read enough (`| head`). Python would complain once more as it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if code:
            sys.exit(code)


def _add_common_arguments(parser: ArgumentParser) -> None:
    """What Django gives a command, for those who write it after the subcommand. Given before, it stands."""
    common = parser.add_argument_group("options of every command")
    common.add_argument("-v", "--verbosity", type=int, choices=[0, 1, 2, 3], default=SUPPRESS, help="0 says least")
    common.add_argument("--settings", default=SUPPRESS, help="the settings module")
    common.add_argument("--pythonpath", default=SUPPRESS, help="a directory to add to the Python path")
    common.add_argument("--traceback", action="store_true", default=SUPPRESS, help="show where an error comes from")
    common.add_argument("--no-color", action="store_true", default=SUPPRESS, help="no colours")
    common.add_argument("--force-color", action="store_true", default=SUPPRESS, help="colours, also into a pipe")
