"""Gets the source distribution of the installed Django, which carries its tests, and unpacks it once under .run/.

pip fetches it, so an index or a mirror that pip knows is the one that is used.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DOWNLOAD_LIMIT_S = 600.0


class NoSource(Exception):
    """Django's source distribution cannot be had. The message says why."""


def django_tests(version: str, folder: Path) -> Path:
    """The folder with runtests.py of this version of Django. Raises NoSource."""
    kept = folder / f"django-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"django-{version}.lock").open("w") as lock:
        # Runs against several databases at once want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / "tests" / "runtests.py").is_file():
            with tempfile.TemporaryDirectory(dir=folder) as name:
                archive = _download(version, Path(name))
                unpacked = _unpack(archive, Path(name) / "unpacked")
                shutil.rmtree(kept, ignore_errors=True)
                # Last, so that an interrupted fetch leaves none.
                unpacked.rename(kept)
    return kept / "tests"


def _download(version: str, folder: Path) -> Path:
    # --no-binary for Django alone: pip then builds its metadata with setuptools as a wheel.
    words = ["download", "--quiet", "--no-deps", "--no-binary", "django", "--dest", str(folder), f"django=={version}"]
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DOWNLOAD_LIMIT_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NoSource(f"pip download django=={version} took longer than {DOWNLOAD_LIMIT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise NoSource(f"pip download django=={version} failed: {' '.join(said)}") from error
    archives = list(folder.glob("[dD]jango-*.tar.gz"))
    if len(archives) != 1:
        raise NoSource(f"pip download django=={version} gave no source archive")
    return archives[0]


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as source:
        # Older 3.11 releases have no filters.
        if hasattr(tarfile, "data_filter"):
            source.extractall(folder, filter="data")
        else:
            source.extractall(folder)
    (unpacked,) = folder.iterdir()
    if not (unpacked / "tests" / "runtests.py").is_file():
        raise NoSource(f"{archive.name} holds no tests/runtests.py")
    return unpacked
