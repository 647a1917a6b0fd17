"""The folder that a private server is made in, its port and password, and the user that it runs as."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests._run import processes

PREPARE_LIMIT_S = 120.0


class CannotStart(Exception):
    """A private server could not be started. The message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is being made, and as whom."""

    folder: Path
    port: int
    password: str
    user: str | None
    log: Path
    env: Mapping[str, str]

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a preparing command to its end. Raises CannotStart."""
        with self.log.open("ab") as output:
            try:
                subprocess.run(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=PREPARE_LIMIT_S,
                    check=True,
                    **self.rights(),
                )
            except (OSError, subprocess.SubprocessError) as error:
                said = processes.tail(self.log, 3)
                raise CannotStart(f"{command[0]} failed: {' / '.join(said) or error}") from error

    def rights(self) -> dict[str, Any]:
        """The arguments of Popen that make a command run here as the right user."""
        common: dict[str, Any] = {"cwd": self.folder, "env": dict(self.env), "start_new_session": True}
        if self.user is None:
            return common
        entry = pwd.getpwnam(self.user)
        return {**common, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def file(self, name: str, text: str) -> Path:
        """A file that only the server's user can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make the file or folder the server's."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
