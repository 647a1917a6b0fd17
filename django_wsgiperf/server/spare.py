"""The supervisor's side of the spare process (preload.py): what it is to import, and whether it may still be used.

It may not when a file that it has imported, or a folder of installed packages, is not as it was: what is new there is
to be really new. It costs the memory of the imported modules, and ends with the supervisor, whose end closes its pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import ModuleType

from . import preload
from .watching import Stamp, library_folders, package_folders, stamp

_PACKAGES = frozenset(
    [
        *("django", "asgiref", "sqlparse", "django_wsgiperf"),
        *("gunicorn", "httptools", "http_sf", "packaging", "xxhash"),
        *("psycopg", "psycopg_binary", "psycopg_c", "MySQLdb", "redis", "django_redis"),
    ]
)
"""Beside the standard library. Others may look at what the project's settings say in the environment, for example."""


def preloadable(known: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """In the server: name and file of each loaded module that a spare process may import, in the order of loading.

    Those whose names are `known` are left out."""
    folders = library_folders()
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if (
            name not in known
            and (top in _PACKAGES or top in sys.stdlib_module_names)
            and isinstance(module, ModuleType)
        ):
            file, spec = getattr(module, "__file__", None), getattr(module, "__spec__", None)
            # Those under a name that is not their own have been put there by somebody.
            if file and spec is not None and spec.name == name and os.path.realpath(file).startswith(folders):
                yield name, file


class Spare:
    """One process, which waits with `modules` (name and file of each) imported.

    `launch` starts a child with a command, environment variables besides, and a descriptor that it is to inherit."""

    def __init__(
        self,
        command: Sequence[str],
        modules: Mapping[str, str],
        launch: Callable[[Sequence[str], Mapping[str, str], int], subprocess.Popen[bytes]],
    ) -> None:
        self._stamps = _stamps([*modules.values(), *package_folders(), preload.__file__])
        theirs, self._orders = os.pipe()
        try:
            self.process = launch(_spare_command(command), {preload.ORDERS_VARIABLE: str(theirs)}, theirs)
        except BaseException:
            os.close(self._orders)
            raise
        finally:
            os.close(theirs)
        self._tell(json.dumps({"command": list(command), "modules": dict(modules)}))

    def is_fresh(self) -> bool:
        """Whether all that it has imported is what would be imported now."""
        return self.process.poll() is None and self._stamps == _stamps(self._stamps)

    def go(self) -> None:
        """Be the server."""
        self._tell("go")
        os.close(self._orders)

    def discard(self) -> None:
        os.close(self._orders)
        self.process.kill()
        self.process.wait()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # It has ended, which is seen by its exit status.
            data = line.encode() + b"\n"
            while data:
                data = data[os.write(self._orders, data) :]


def _stamps(paths: Sequence[str] | Mapping[str, object]) -> dict[str, Stamp | None]:
    return {path: stamp(path) for path in paths}


def _spare_command(command: Sequence[str]) -> list[str]:
    """`python -W... -X... manage.py ...`, with the spare's program before manage.py."""
    options = 1
    while command[options].startswith(("-W", "-X")):
        options += 1
    return [*command[:options], preload.__file__, *command[options:]]
