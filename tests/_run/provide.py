"""Gets each service that the tests need: given, running here, started privately, or installed and then started.

tests/services says what is there and whether it works; servers.py starts; debian.py installs. The outcome is an
address for the service's TEST_* variable, or why there is none. Private servers live until `close`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import services
from tests._run import processes, servers
from tests._run.debian import Debian
from tests.services import Found, Missing

ANSWER_LIMIT_S = 60.0
START_TRIES = 2
#: Packages of the services that are programs, not servers.
PROGRAM_PACKAGES = {
    "chromium": ("chromium",),
    "wrk": ("wrk",),
    "nginx": ("nginx-light",),
    "cache_tests": ("nodejs", "npm"),
}
#: Programs of theirs that may be there without the package.
ITS_PROGRAM = {"nodejs": "node", "npm": "npm"}


@dataclass(slots=True)
class Provider:
    """Finds and starts services. `python` has the database drivers."""

    python: Path
    root: Path
    logs: Path
    env: dict[str, str]
    debian: Debian
    only_there: bool = False
    only_private: bool = False
    on_wait: Callable[[float, str], None] = lambda seconds, note: None
    started: list[servers.PrivateServer] = field(default_factory=list, init=False)

    def provide(self, key: str) -> Found | Missing:
        """The service, by the first way that works. Its variable is then in `env`."""
        found = self._look(key, here=not (self.only_private and key in servers.RECIPES))
        if isinstance(found, Missing) and not found.is_mistake and not self.only_there:
            found = self._start(key, found) if key in servers.RECIPES else self._install_program(key, found)
        if isinstance(found, Found):
            self.env[services.SERVICES[key].variable] = found.address
        return found

    def close(self) -> None:
        """Stop every private server."""
        while self.started:
            self.started.pop().stop()

    def _look(self, key: str, *, here: bool, env: dict[str, str] | None = None) -> Found | Missing:
        words: list[str | Path] = [self.python, "-m", "tests.services", key, *([] if here else ["--given"])]
        try:
            said = subprocess.run(
                words,
                env=env or self.env,
                cwd=self.root,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=120,
                check=True,
            )
            answer = json.loads(said.stdout)[key]
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            return Missing(f"looking for it failed: {' '.join(last)}")
        except subprocess.TimeoutExpired:
            return Missing("looking for it took longer than two minutes")
        return Found(**answer) if "address" in answer else Missing(**answer)

    def _start(self, key: str, missing: Missing) -> Found | Missing:
        recipe = servers.RECIPES[key]
        if recipe.programs() is None:
            if why := self.debian.install(*recipe.packages):
                names = " ".join(recipe.packages)
                return Missing(f"{missing.why}; {recipe.title} is not installed: {why} (Debian: {names})")
            # An extension that was installed may be all that a server which runs has lacked.
            if isinstance(found := self._look(key, here=not self.only_private), Found):
                return found
        problem = "its programs were not found"
        for _ in range(START_TRIES):
            try:
                server = servers.start(key, log=self.logs / f"{key}.log", env=self.env)
                if server is None:
                    break
                self.started.append(server)
                return self._wait_for(key, server)
            except servers.CannotStart as error:
                # Perhaps its port was taken in the meantime: once more, with another.
                problem = str(error)
        return Missing(f"{missing.why}; a private one did not start: {problem}")

    def _wait_for(self, key: str, server: servers.PrivateServer) -> Found:
        env = {**self.env, services.SERVICES[key].variable: server.url}
        began = time.monotonic()
        while not server.has_ended() and (waited := time.monotonic() - began) < ANSWER_LIMIT_S:
            self.on_wait(waited, f"starting a private {server.title}")
            found = self._look(key, here=False, env=env)
            if isinstance(found, Found):
                return Found(found.address, f"private, {server.url.rpartition('@')[2]}", found.version)
            time.sleep(0.1)
        how = "it ended" if server.has_ended() else f"no answer in {ANSWER_LIMIT_S:.0f} s"
        said = " / ".join(processes.tail(server.log, 3))
        self.started.remove(server)
        server.stop()
        raise servers.CannotStart(f"{how}: {said}")

    def _install_program(self, key: str, missing: Missing) -> Found | Missing:
        packages = PROGRAM_PACKAGES[key]
        if all(shutil.which(ITS_PROGRAM.get(package, "")) for package in packages):
            # They are there, so that what failed is something else.
            return missing
        if why := self.debian.install(*packages):
            return Missing(f"{missing.why}; {why} (Debian: {' '.join(packages)})")
        return self._look(key, here=True)
