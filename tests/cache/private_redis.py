"""Private Redis servers for the cache's tests: killed, frozen, full, made read-only and restarted, by process id.

Made by tests/_run/servers.py in temporary folders, on free ports of 127.0.0.1. The machine's own is never
touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests import services
from tests._run import processes, results, servers

ANSWER_LIMIT_S = 30.0


@dataclass(slots=True)
class PrivateRedis:
    """A running Redis that is this test's alone."""

    private: servers.PrivateServer

    @property
    def url(self) -> str:
        return f"{self.private.url}0"

    def caches(self, backend: str = "django_redis.cache.RedisCache", **others: Any) -> dict[str, dict[str, Any]]:
        """CACHES with the alias "pages" in this server."""
        return redis_caches(self.url, backend, **others)

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A client that waits for long, unlike the cache."""
        client = redis.Redis.from_url(self.url, socket_timeout=20, protocol=2)
        try:
            yield client
        finally:
            client.close()

    def command(self, *words: str | int) -> Any:
        """Run one command."""
        with self.client() as client:
            return client.execute_command(*words)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does: connections are open, and nobody is at home."""
        self.private.process.send_signal(signal.SIGSTOP)
        _wait_for_state(self.private.process.pid, "T")

    def thaw(self) -> None:
        self.private.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word."""
        self.private.process.kill()
        self.private.process.wait(20)

    def launch(self) -> None:
        """Start it again, empty."""
        self.private.launch()
        self.wait()

    def wait(self) -> None:
        """Until it answers. Raises CannotStart."""
        deadline_s = time.monotonic() + ANSWER_LIMIT_S
        while True:
            try:
                self.command("PING")
                return
            except redis.RedisError as error:
                if self.private.has_ended() or time.monotonic() > deadline_s:
                    said = " / ".join(processes.tail(self.private.log, 4))
                    raise servers.CannotStart(f"Redis does not answer ({error}): {said}") from error
            time.sleep(0.01)


def redis_caches(url: str, backend: str = "django_redis.cache.RedisCache", **others: Any) -> dict[str, dict[str, Any]]:
    """CACHES with the alias "pages" at this address."""
    return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}} | {
        "pages": {"BACKEND": backend, "LOCATION": url, **others}
    }


def _wait_for_state(pid: int, state: str) -> None:
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(state):
            return
        assert time.monotonic() < deadline_s, f"process {pid} does not stop"
        time.sleep(0.005)


@contextlib.contextmanager
def running(folder: Path, extra: Sequence[str] = ()) -> Iterator[PrivateRedis]:
    """A private Redis for the length of a `with` block. Skips the test where none is installed; under CI it fails."""
    private = servers.start(
        "redis", log=folder / "redis.log", env=processes.clean_environment(os.environ), extra=list(extra)
    )
    if private is None:
        why = "Redis is not installed here, and this needs a private server of its own"
        if results.is_ci(os.environ):
            raise services.ServiceMissing(why)
        pytest.skip(why)
    server = PrivateRedis(private)
    try:
        server.wait()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.thaw()
        private.stop()
