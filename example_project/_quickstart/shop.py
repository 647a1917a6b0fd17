"""Creates the shop's tables and fills them, as far as that has not been done; says why when it cannot."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from .environment import ROOT
from .terminal import Stop, done, relative, step, tail

MANAGE = ROOT / "example_project" / "manage.py"


def make_shop(python: Path, books: int) -> None:
    """Migrate, seed and make the users. Raises Stop."""
    _manage(python, "database", "migrate", "--no-input", "--verbosity=0")
    _manage(python, "books", "seed", f"--books={books}", "--if-empty")


def database_name() -> str:
    """Where the database is, without its password."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        folder = os.environ.get("BOOKSHOP_DATA")
        return relative((Path(folder) if folder else ROOT / ".run" / "bookshop").resolve() / "bookshop.sqlite3")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _manage(python: Path, what: str, *arguments: str) -> None:
    began = time.monotonic()
    step(what, f"manage.py {arguments[0]}")
    run = subprocess.run(
        [str(python), str(MANAGE), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if run.returncode:
        raise Stop(explain(arguments[0], f"{run.stdout}\n{run.stderr}".strip()))
    said = run.stdout.strip().splitlines()
    done(what, said[0] if said else database_name(), began)


def explain(command: str, said: str) -> str:
    """Why a management command failed: in the words of its error, where those are meant for people."""
    errors = re.findall(r"^([A-Za-z_.]+(?:Error|ImproperlyConfigured)): (.+)", said, re.MULTILINE)
    kind, words = errors[-1] if errors else ("", "")
    if kind.endswith(("OperationalError", "InterfaceError")):
        return f"The database {database_name()} cannot be used:\n    {words}\nDoes it run, and is DATABASE_URL right?"
    if kind.endswith(("ImproperlyConfigured", "CommandError")):
        return str(words)
    return f"manage.py {command} failed. Its last words:\n\n{tail(said)}"
