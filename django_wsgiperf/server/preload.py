"""The spare process of `serve --reload`: imports what is not the project's before a file changes, and then waits.

Run by its path, with nothing else of the package: the supervisor (spare.py) says what to import. No setting may be read
until it is told to go on as `manage.py`: what reads one is named to the supervisor, for another spare to do without. In
the server that it becomes, tells whether the project replaces something that it has imported too early for that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, TextIO

NAME = "django_wsgiperf.server.preload"
ORDERS_VARIABLE = "WSGIPERF__SPARE_FD"
REPORT_VARIABLE = "WSGIPERF__REPORT_FD"

_SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
_MADE_TO_BE_REPLACED = frozenset({"warnings.showwarning", "warnings.formatwarning", "threading.excepthook"})

_went_on: Preloaded | None = None


class Preloaded:
    """What had been imported when the process went on, and how to start without that."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._modules = {name: (module, _parts(module)) for name, module in sys.modules.items() if _has_file(module)}

    def replaced(self) -> str:
        """The name of a module, class or function that is another by now; empty when there is none.

        What was imported early refers to the one that was there before, as nothing would in a usual start."""
        for name, (module, parts) in self._modules.items():
            if sys.modules.get(name) is not module:
                return name
            now = vars(module)
            for key, part in parts.items():
                if now.get(key) is not part and f"{name}.{key}" not in _MADE_TO_BE_REPLACED:
                    return f"{name}.{key}"
        return ""

    def start_cold(self) -> None:
        """Become the same server in a new interpreter. Never returns."""
        _start_cold(self._command, self._environ)


def went_on() -> Preloaded | None:
    """In a server that was a spare process before: what it had imported."""
    return _went_on


def import_all(modules: Mapping[str, str]) -> set[str]:
    """Import each, by name and file. The names of those that cannot be, are another file, or read a setting."""
    import importlib

    unfit: set[str] = set()
    with _noticing(unfit.update):
        for name, file in modules.items():
            try:
                found = importlib.import_module(name)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:
                unfit.add(name)
            else:
                if getattr(found, "__file__", None) != file:
                    unfit.add(name)
    return unfit & modules.keys()


class _noticing:
    """While it lasts, `notice` gets the names of all modules in whose import a setting is read. There are none yet.

    The error alone would not do: some modules do without a setting that they cannot read (django.contrib.gis)."""

    def __init__(self, notice: Callable[[set[str]], None]) -> None:
        self._notice = notice

    def __enter__(self) -> None:
        lazy = _lazy_settings()
        notice, setup = self._notice, lazy._setup
        self._setup = setup

        def noticed(settings: Any, name: Any = None) -> None:
            notice(set(_being_imported()))
            setup(settings, name)

        lazy._setup = noticed

    def __exit__(self, *exc_info: object) -> None:
        _lazy_settings()._setup = self._setup


def _lazy_settings() -> Any:
    from django.conf import LazySettings

    return LazySettings


def _being_imported() -> Iterator[str]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            yield frame.f_globals["__name__"]
        frame = frame.f_back


def _has_file(module: object) -> bool:
    return getattr(module, "__file__", None) is not None and getattr(module, "__name__", "") != "__main__"


def _parts(module: Any) -> dict[str, object]:
    """What others may have imported from it. Private names are not meant for that, and typing_extensions replaces some
    of Python's; values of other kinds are counters, caches and the like, which change."""
    import types

    # By type(), since some objects would read the settings to tell their class.
    kinds = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType)
    return {
        key: value for key, value in vars(module).items() if issubclass(type(value), kinds) and not key.startswith("_")
    }


def main() -> None:
    """Import, wait, and go on as the command whose arguments are ours."""
    import gc
    import importlib
    import json
    import runpy
    import signal

    global _went_on
    if not sys.flags.safe_path:
        del sys.path[0]  # This folder, whose modules are nobody's top-level ones.
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # It comes from the terminal, and would leave a core file.
    orders = os.fdopen(int(os.environ.pop(ORDERS_VARIABLE)))
    environ = dict(os.environ)
    os.environ.pop(_SETTINGS_VARIABLE, None)
    order = json.loads(_line(orders))
    gc.disable()
    try:
        unfit = import_all(order["modules"])
        gc.freeze()
        _went_on = Preloaded(order["command"], environ)
    except Exception:
        unfit = {""}
    gc.enable()
    for report in [*(["unfit", name] for name in unfit), ["imported"]]:
        os.write(int(environ[REPORT_VARIABLE]), json.dumps(report).encode() + b"\n")
    _line(orders)
    orders.close()
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if unfit:
        _start_cold(order["command"], environ)
    os.environ.update(environ)
    importlib.invalidate_caches()
    is_module, what = sys.argv[1] == "-m", sys.argv[2 if sys.argv[1] == "-m" else 1]
    sys.argv[:] = sys.argv[2 if is_module else 1 :]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd() if is_module else os.path.dirname(os.path.realpath(what)))
    if is_module:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(what, run_name="__main__")


def _line(orders: TextIO) -> str:
    line = orders.readline()
    if not line:
        os._exit(0)  # The supervisor has no use for this process, or is gone.
    return line


def _start_cold(command: Sequence[str], environ: Mapping[str, str]) -> None:
    os.execve(command[0], list(command), environ)


if __name__ == "__main__":
    # Where the server will ask for it.
    sys.modules[NAME] = sys.modules["__main__"]
    main()
