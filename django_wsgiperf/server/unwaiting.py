"""Lines of the access log that the leader writes, which nobody may keep waiting: least of all who reads the log.

A file takes what it is given. A pipe, a terminal or a socket does so as long as somebody reads: it is asked whether it
would, then written to without waiting, and what it does not take even so is left to a thread.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress

from .accesslog import AccessLog


class UnwaitingLog:
    """Writes to the file of `log`. The leader's; made by the process that writes."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log
        self._opened = log.opened
        self.line = log.line
        kind = os.fstat(log.fd).st_mode
        self._is_file = stat.S_ISREG(kind)
        self.close: Callable[[], None] = lambda: None
        """Give back what was opened beside the log."""
        self._send = self._sender(kind)

    def _sender(self, kind: int) -> Callable[[bytes], int] | None:
        """What writes without waiting; None where nothing is known that does."""
        fd = self._log.fd
        if self._is_file:
            return lambda line: os.write(fd, line)
        if stat.S_ISSOCK(kind):
            with suppress(OSError):
                sock = socket.socket(fileno=os.dup(fd))
                self.close = sock.close
                return lambda line: sock.send(line, socket.MSG_DONTWAIT)
            return None
        # Whether a write waits is told with the opened file, which other programs may share: so it is opened once more.
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            again = os.open(f"/proc/self/fd/{fd}", flags)
            self.close = lambda: os.close(again)
            return lambda line: os.write(again, line)
        return None

    @property
    def is_outdated(self) -> bool:
        """Whether the log was opened again since, and may be something else."""
        return self._log.opened != self._opened

    def would_wait(self) -> bool:
        """Whether nobody reads what is written: a pipe that is full, a terminal that is stopped."""
        return not self._is_file and (self._send is None or not select.select((), (self._log.fd,), (), 0)[1])

    def write(self, line: bytes) -> None:
        """Write a line, after would_wait() has said no."""
        send = self._send
        if self._is_file or send is None:
            self._log.write(line)
            return
        try:
            line = line[send(line) :]
        except BlockingIOError:
            pass  # Others have filled it meanwhile.
        except OSError:
            self._log.write(line)  # Says what is wrong with it, once.
            return
        if line:
            # Seldom: from now on it says that it would wait.
            threading.Thread(target=self._log.write, args=(line,), name="wsgiperf-log", daemon=True).start()
