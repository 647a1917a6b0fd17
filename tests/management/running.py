"""Runs `manage.py wsgiperf` in this process, and in one of its own where its exit and its streams matter."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command gave."""

    code: int
    out: str
    err: str


def wsgiperf(*arguments: str) -> Outcome:
    """The command in this process. Errors of usage are raised, as CommandError."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("wsgiperf", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return Outcome(int(end.code or 0), out.getvalue(), err.getvalue())
    return Outcome(0, out.getvalue(), err.getvalue())


def shell(*arguments: str, stdin: str = "", **environ: str) -> Outcome:
    """The command in a process of its own, on the tests' settings."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("WSGIPERF_", "DJANGO_", "NO_COLOR"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "django", "wsgiperf", *arguments],
        cwd=ROOT,
        env={**clean, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT), **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
