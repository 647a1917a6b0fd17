"""Gets the suite, once, by npm into .run/, starts its server, and runs its tests against a cache. Judges nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE, VERSION = "http-cache-tests", "0.4.5"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUN_FOLDER = ROOT / ".run" / "conformance"
INSTALL_LIMIT_S = 100.0
#: Some caches take their time where the origin hangs up: Squid two minutes, all others a quarter of one.
RUN_LIMIT_S = 240.0
OLDEST_NODE = 18


class NoSuite(Exception):
    """The suite cannot be had, or cannot be run. The message says why, and what to install."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite. `needs`: others without which it says nothing."""

    id: str
    name: str
    kind: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: the tests, and by their id True or what kind of thing was wrong, and what."""

    tests: tuple[Case, ...]
    results: Mapping[str, bool | Sequence[str]]


def node() -> str:
    """The program. Raises NoSuite."""
    found = shutil.which("node")
    if found is None:
        raise NoSuite("Node.js was not found: install Node.js and npm (Debian: nodejs npm)")
    said = subprocess.run([found, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    version = said.stdout.decode("utf-8", "replace").strip()
    number = version.removeprefix("v").partition(".")[0]
    if not number.isdecimal() or int(number) < OLDEST_NODE:
        raise NoSuite(f"{found} is {version or 'none that runs'}: install Node.js {OLDEST_NODE} or newer")
    return found


def get(folder: Path | None = None) -> Path:
    """The folder of the suite, fetched if it is not there: below this one, that of TEST_CACHE_TESTS, or .run/.

    Raises NoSuite."""
    folder = folder or Path(os.environ.get("TEST_CACHE_TESTS") or RUN_FOLDER)
    node()
    place = folder / f"suite-{VERSION}"
    suite = place / "node_modules" / PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "suite.lock").open("w") as lock:
        # Two runs at once want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _version(suite) != VERSION:
            npm = shutil.which("npm")
            if npm is None:
                raise NoSuite("npm was not found: install it (Debian: npm)")
            shutil.rmtree(place, ignore_errors=True)
            _install(npm, place)
    return suite


def _version(suite: Path) -> str:
    try:
        described = json.loads((suite / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    # What it is run with comes last.
    is_whole = (suite.parent / "node-fetch").is_dir() or (suite / "node_modules" / "node-fetch").is_dir()
    return str(described.get("version", "")) if is_whole else ""


def _install(npm: str, place: Path) -> None:
    place.mkdir(parents=True)
    # Without one npm takes that of a folder above.
    (place / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", f"{PACKAGE}@{VERSION}"]
    try:
        subprocess.run(
            [npm, *words], cwd=place, stdin=subprocess.DEVNULL, capture_output=True, timeout=INSTALL_LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise NoSuite(f"npm install {PACKAGE}@{VERSION} took longer than {INSTALL_LIMIT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.decode("utf-8", "replace").splitlines() if "code" in line][:1]
        raise NoSuite(f"npm install {PACKAGE}@{VERSION} failed: {' '.join(said) or 'see npm'}") from error
    if _version(place / "node_modules" / PACKAGE) != VERSION:
        raise NoSuite(f"npm install {PACKAGE}@{VERSION} gave another version, or not all of it")


def server_command() -> list[str]:
    """What runs the suite's server, in its folder, on 127.0.0.1 alone."""
    return [node(), "--require", str(HERE / "loopback.cjs"), "server/server.mjs"]


def server_environment(port: int, folder: Path) -> dict[str, str]:
    """Its variables: what npm would say."""
    said = {"protocol": "http", "port": str(port), "pidfile": str(folder / "origin.pid")}
    return {f"npm_config_{name}": value for name, value in said.items()}


def run(suite: Path, port: int, tests: Sequence[str] = (), *, limit_s: float = RUN_LIMIT_S) -> Outcome:
    """Run the suite, or these of its tests, against the cache on this port of 127.0.0.1. Raises NoSuite."""
    command = [node(), "--no-warnings", str(HERE / "run.mjs"), str(suite), f"http://127.0.0.1:{port}", *tests]
    try:
        ended = subprocess.run(
            command, cwd=suite, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=True
        )
        # What the suite says of itself goes before.
        answer: dict[str, Any] = json.loads(ended.stdout.decode("utf-8").rstrip().rpartition("\n")[2])
    except subprocess.TimeoutExpired as error:
        raise NoSuite(f"the suite was stopped after {limit_s:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NoSuite(f"the suite ended with {error.returncode}: {' | '.join(said[-6:])}") from error
    except ValueError as error:
        raise NoSuite("the suite printed no results") from error
    found = [Case(one["id"], one["name"], one["kind"], tuple(one["needs"])) for one in answer["tests"]]
    return Outcome(tuple(found), answer["results"])
