"""One question to a server under comparison, before load comes, and programs that print their numbers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.common.places import PROJECT, ROOT
from tests.benchmarks.common.processes import Program

ANSWER_S = 20.0
#: Characters of a failed program's last words.
SHOWN = 300


class WrongAnswer(RuntimeError):
    """A page did not answer as it should."""


class Broken(RuntimeError):
    """A program did not do what it was to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`fields` have lower-case names."""

    fields: Mapping[str, str]
    body: bytes


def ask(port: int, path: str, program: Program, timeout_s: float = ANSWER_S) -> Answer:
    """Ask 127.0.0.1 for a page once. Raises WrongAnswer, also for an empty one."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        client.request("GET", path)
        response = client.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        said = program.last_words()[-SHOWN:]
        raise WrongAnswer(f"{program.name}: no answer to {path} ({type(error).__name__}: {error}): {said}") from error
    finally:
        client.close()
    if response.status != 200 or not body:
        raise WrongAnswer(f"{program.name}: status {response.status}, {len(body)} bytes for {path}")
    return Answer({name.lower(): value for name, value in response.getheaders()}, body)


def json_lines(module: str, words: Sequence[str], *, limit_s: float, env: Mapping[str, str] | None = None) -> list[Any]:
    """Run a module to its end in a process of its own: what it printed, a JSON text in each line. Raises Broken."""
    name = module.removeprefix("tests.benchmarks.")
    surroundings = {**os.environ, "PYTHONPATH": f"{ROOT}:{PROJECT}"} if env is None else dict(env)
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=ROOT, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Broken(f"{name}: it took longer than {limit_s:g} s") from None
    if done.returncode or not done.stdout.strip():
        raise Broken(f"{name}: " + " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:]))
    return [json.loads(line) for line in done.stdout.strip().splitlines()]
