"""Installs Debian packages, where that is possible: as root, with apt-get.

Packages that bring a system service are installed without starting it. The tests start their own instances.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests._run import processes

LIMIT_S = 600.0
POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(slots=True)
class Debian:
    """apt-get on this machine; `allowed` is what the user said."""

    allowed: bool
    log: Path
    env: Mapping[str, str]
    on_output: processes.Listener | None = None
    _is_updated: bool = field(default=False, init=False)

    def refusal(self) -> str | None:
        """Why nothing can be installed here, or None."""
        if not self.allowed:
            return "installing packages was turned off"
        if not shutil.which("apt-get"):
            return "this is not Debian, so it is not installed automatically"
        if os.geteuid() != 0:
            return "only root can install it"
        return None

    def install(self, *packages: str) -> str | None:
        """Install the packages; why not, when that failed."""
        if refusal := self.refusal():
            return refusal
        if not self._is_updated:
            # A failed update is no reason to stop: the lists may be good enough.
            self._apt("update")
            self._is_updated = True
        with _services_stay_off():
            outcome = self._apt("install", "-y", "--no-install-recommends", *packages)
        if outcome.ok:
            return None
        said = [line for line in outcome.tail(20) if line.startswith("E:")] or outcome.tail(1)
        how = "took too long" if outcome.code is None else "failed"
        return f"apt-get install {' '.join(packages)} {how}: {' '.join(said)}"

    def _apt(self, *words: str) -> processes.Outcome:
        return processes.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=120", *words],
            log=self.log,
            limit_s=LIMIT_S,
            env={**self.env, "DEBIAN_FRONTEND": "noninteractive"},
            cwd=Path("/"),
            on_output=self.on_output,
        )


@contextlib.contextmanager
def _services_stay_off(policy: Path = POLICY) -> Iterator[None]:
    """Debian's own way to keep packages from starting services: a policy that says no, for as long as it lasts."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
