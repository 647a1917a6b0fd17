"""Serves a bookshop of its own with `manage.py serve`, for tests that speak HTTP and for the screenshots.

Its database, key and exports are in a folder that the caller gives; the server is stopped and waited for.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MANAGE = ROOT / "example_project" / "manage.py"
START_S = 100.0
STOP_S = 60.0


def environment(data: Path, **more: str) -> dict[str, str]:
    """The environment of a shop that keeps everything in `data`."""
    foreign = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "DEBUG", "SECRET_KEY")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in foreign and not name.startswith(("BOOKSHOP_", "WSGIPERF_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "BOOKSHOP_DATA": str(data), **more}


def manage(data: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a management command of the shop; its output and its exit code."""
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        env=environment(data, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def make_shop(data: Path, books: int, **more: str) -> None:
    """Create the tables and fill them. Raises RuntimeError with what the command said."""
    for arguments in (("migrate", "-v0"), ("seed", f"--books={books}", "--seed=1")):
        done = manage(data, *arguments, **more)
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def serve(data: Path, *arguments: str, manage: Path = MANAGE, **more: str) -> Iterator[str]:
    """Serve the shop, or another project, on a free port; gives the address, without a slash at its end."""
    process = subprocess.Popen(
        [sys.executable, str(manage), "serve", "127.0.0.1:0", *arguments],
        env=environment(data, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    address: list[str] = []
    known = threading.Event()

    def listen() -> None:
        # Reads to the end, so that the server never waits for a full pipe.
        for line in process.stdout or ():
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found and not address:
                address.append(found[0])
                known.set()
        known.set()

    reader = threading.Thread(target=listen, name="server-output", daemon=True)
    reader.start()
    try:
        if not known.wait(START_S) or not address:
            raise RuntimeError(f"the server did not start:\n{''.join(said)}")
        yield address[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(STOP_S)
        process.stdout.close()
