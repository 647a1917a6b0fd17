"""Installs requirements into an environment: with uv, which is several times as fast, and with pip where that fails.

uv is itself installed by the environment's pip, and told what pip is configured to: its indexes, folders and
certificates. What is installed is environments.py's to say.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests._run import processes

LIMIT_S = 900.0
PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input")
#: Settings of pip's -> uv's variable for the same, and what is between several values.
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


@dataclass(frozen=True, slots=True)
class Installer:
    """Runs installations into the environment of `python`, and logs them."""

    python: Path
    log: Path
    env: Mapping[str, str]
    cwd: Path
    on_output: processes.Listener | None = None

    def install(self, requirements: Sequence[str]) -> processes.Outcome:
        """Install them: how that ended."""
        uv = self.python.with_name("uv")
        self._run([self.python, *PIP, "--quiet", "uv"], self.env)
        if uv.exists():
            # Compiled as pip does it, or each process of the tests would compile Django for itself where Python is
            # told to write no bytecode.
            command: list[str | Path] = [uv, "pip", "install", "--compile-bytecode", "--python", self.python]
            command += requirements
            outcome = self._run(command, {**self.env, **self._settings()})
            if outcome.ok:
                return outcome
        return self._run([self.python, *PIP, *requirements], self.env)

    def _run(self, command: list[str | Path], env: Mapping[str, str]) -> processes.Outcome:
        return processes.run(command, log=self.log, limit_s=LIMIT_S, env=env, cwd=self.cwd, on_output=self.on_output)

    def _settings(self) -> dict[str, str]:
        asked = subprocess.run(
            [self.python, "-m", "pip", "config", "list"],
            env=dict(self.env),
            cwd=self.cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            text=True,
        )
        return uv_settings(asked.stdout)


def uv_settings(listed: str) -> dict[str, str]:
    """uv's variables for what `pip config list` lists. What the user has set for uv stays."""
    # pip takes the best of what all indexes have, uv by itself what the first has.
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for line in listed.splitlines():
        name, separator, value = line.partition("=")
        variable, between = SETTINGS.get(name.rpartition(".")[2], ("", ""))
        if separator and variable:
            found[variable] = between.join(value.strip("'\"").replace("\\n", " ").split())
    return {name: value for name, value in found.items() if name not in os.environ}
