"""What the master tells systemd: that the server serves, reloads, stops, and that it lives (sd_notify(3)).

A service of Type=notify has the name of a socket in its environment; without it nothing is told. The sockets that
systemd opens are listening.py's.
"""

from __future__ import annotations

import logging
import os
import socket
import time

logger = logging.getLogger("django_wsgiperf.server")


class Notifier:
    """Sends the datagrams. Takes the variables out of the environment: gunicorn would say READY before a worker serves,
    and what the application starts is not the service."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        watched_us = os.environ.pop("WATCHDOG_USEC", "")
        watched = os.environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._told: tuple[str, ...] = ()
        # The program that USR2 starts has the process id of its predecessor there.
        is_watched = self.is_on and watched_us.isdigit() and int(watched_us) > 0
        is_ours = watched in ("", str(os.getpid())) or "GUNICORN_PID" in os.environ
        self.alive_every_s = int(watched_us) / 2e6 if is_watched and is_ours else float("inf")
        """systemd advises half of the time after which it takes the service for dead."""
        self._alive_at = time.monotonic()

    @property
    def is_on(self) -> bool:
        return bool(self._address)

    @property
    def awaits_readiness(self) -> bool:
        return self.is_on and "READY=1" not in self._told

    def ready(self, workers: int) -> None:
        """So many workers serve; told when it was not so before, or when they were another number."""
        self._tell("READY=1", f"STATUS={workers} {'worker serves' if workers == 1 else 'workers serve'}")

    def reloading(self) -> None:
        """Workers are being replaced. `ready()` has to follow."""
        since_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={since_us}", "STATUS=Workers are replaced")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=Requests that run may end")

    def succeeded_by(self, pid: int) -> None:
        """The program that USR2 started is the service from now on."""
        self._tell(f"MAINPID={pid}", "READY=1")

    def alive(self) -> None:
        """To be called at least every `alive_every_s`."""
        now = time.monotonic()
        if self.is_on and now >= self._alive_at + self.alive_every_s:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if self.is_on and lines != self._told:
            self._told = lines
            self._send("\n".join(lines))

    def _send(self, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(text.encode(), self._address)
        except OSError as error:
            logger.warning("systemd could not be told %r by NOTIFY_SOCKET: %s", text.partition("\n")[0], error)
