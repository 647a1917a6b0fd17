"""What `serve --reload` watches: the files that the server has loaded, and folders of templates and translations.

Which those are is Django's knowledge (django.utils.autoreload), reported by the child; here they are looked at. A look
costs a stat() of each file of the project; libraries change rarely, and are looked at every two seconds.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

Stamp = tuple[int, int]
"""A file's modification time in ns and its size."""

_LIBRARIES_EVERY_S = 2.0
_GONE_S = 0.25
"""Editors move a file away before they write it anew."""
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})


def library_folders() -> tuple[str, ...]:
    """Where Python's and installed modules are, each with a slash in the end."""
    named = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({os.path.realpath(folder) + os.sep for folder in [*named, *package_folders()]})


def package_folders() -> list[str]:
    """Where packages are installed. Such a folder changes with each of them."""
    return [*site.getsitepackages(), site.getusersitepackages()]


def stamp(path: str) -> Stamp | None:
    """When and how long the file is; None when it is not there."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size


class Watch:
    """The files under watch, and how they were when the server was started with them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._own: dict[str, Stamp | None] = {}
        self._libraries: dict[str, Stamp | None] = {}
        self._globs: dict[tuple[str, str], dict[str, Stamp | None]] = {}
        self._gone: dict[str, float] = {}
        """Files that are missing, and since when."""
        self._young: list[str] = []
        self._libraries_at = 0.0
        self._library_folders = library_folders()

    def add(self, path: str, *, newer_than: float | None = None) -> None:
        """Watch a file. It counts as changed if it is younger than `newer_than` (seconds since the epoch).

        A file that was saved after the server had started, and before the server told that it had loaded it, may have
        been loaded before or after the save."""
        files = self._libraries if path.startswith(self._library_folders) else self._own
        if path in files:
            return
        files[path] = found = stamp(path)
        if newer_than is not None and found is not None and found[0] > newer_than * 1e9:
            self._young.append(path)

    def add_glob(self, folder: str, pattern: str) -> None:
        """Watch what is, or comes to be, in a folder."""
        if (folder, pattern) not in self._globs:
            self._globs[folder, pattern] = _matches(folder, pattern)

    def accept(self, path: str) -> None:
        """The file is as it should be now."""
        for files in (self._own, self._libraries):
            if path in files:
                files[path] = stamp(path)
        for (folder, pattern), files in self._globs.items():
            files.pop(path, None)
            files.update({name: found for name, found in _matches(folder, pattern).items() if name == path})

    def refresh(self) -> None:
        """Everything is as it should be now: the server is about to be started with it."""
        for files in (self._own, self._libraries):
            files.update({path: stamp(path) for path in files})
        for folder, pattern in self._globs:
            self._globs[folder, pattern] = _matches(folder, pattern)
        self._young.clear()
        self._gone.clear()

    def changed(self) -> str:
        """The name of a file that is not as it was; empty when there is none."""
        if self._young:
            return self._young.pop()
        now_s, groups = self._clock(), [self._own]
        if now_s >= self._libraries_at:
            self._libraries_at = now_s + _LIBRARIES_EVERY_S
            groups.append(self._libraries)
        for files in groups:
            for path, before in files.items():
                now = stamp(path)
                if now is not None:
                    self._gone.pop(path, None)
                if now != before and (now is not None or now_s >= self._gone.setdefault(path, now_s) + _GONE_S):
                    return path
        for (folder, pattern), before_all in self._globs.items():
            now_all = _matches(folder, pattern)
            if now_all != before_all:
                differing = {path for path, _ in now_all.items() ^ before_all.items()}
                return min(differing)
        return ""


def _matches(folder: str, pattern: str) -> dict[str, Stamp | None]:
    return {str(path): stamp(str(path)) for path in Path(folder).glob(pattern) if not path.is_dir()}


def project_files() -> dict[str, Stamp | None]:
    """All source files of the project: below the present folder and the one of the settings."""
    roots = {Path.cwd()}
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    if module is not None and getattr(module, "__file__", None):
        roots.add(Path(str(module.__file__)).resolve().parent)
    files: dict[str, Stamp | None] = {}
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not _is_skipped(folder, name)]
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    files[path] = stamp(path)
    return files


def _is_skipped(folder: str, name: str) -> bool:
    is_environment = os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
    return name.startswith(".") or name in _SKIPPED_FOLDERS or is_environment
