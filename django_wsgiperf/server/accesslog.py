"""The access log: a line for each request that was run, in Apache's combined format or as JSON.

Called in the thread that ran the request, after its response was handed over. A line is one write to a file opened
for appending, so lines of several threads and processes do not mix. Values are escaped: no client can forge a line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gateway import Exchange
    from .slots import Slot

logger = logging.getLogger("django_wsgiperf.server")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
"""What is not printable ASCII, and the quote and the backslash, which the format itself uses."""
_LONGEST_PART = 400


class AccessLog:
    """Writes to the file `path`, or to standard output for "-". `style` is "combined" or "json"."""

    def __init__(self, style: str, path: str) -> None:
        self._path = path
        self._line = json_line if style == "json" else combined_line
        self._has_failed = False
        self.opened = 0
        """How often it was opened again."""
        try:
            self._fd = self._open()
        except OSError as error:
            # It could be opened when the server was started. No reason to fail requests now.
            logger.error(
                "The access log cannot be opened, and requests are served without: %s. Make its folder, or see to its "
                "permissions, then send USR1 to the server",
                error,
            )
            self._fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        # A pipe takes only so much as one piece.
        self._longest = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(self._fd).st_mode) else 0

    def _open(self) -> int:
        if self._path == "-":
            return os.dup(1)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    @property
    def fd(self) -> int:
        """The open file; stays the same, whatever it is opened again for."""
        return self._fd

    def __call__(self, exchange: Exchange, slot: Slot, queued_ns: int, took_ns: int) -> None:
        self.write(self.line(exchange, queued_ns, took_ns))

    def line(self, exchange: Exchange, queued_ns: int, took_ns: int) -> bytes:
        """What is written of a request that has just ended."""
        began_s = time.time() - (queued_ns + took_ns) / 1e9
        line = self._line(exchange, began_s, queued_ns, took_ns, None)
        if self._longest and len(line) > self._longest:
            line = self._line(exchange, began_s, queued_ns, took_ns, _LONGEST_PART)
        return line

    def write(self, line: bytes) -> None:
        """Write a line. Waits for whoever reads it, where that is no file."""
        try:
            os.write(self._fd, line)
            self._has_failed = False
        except OSError as error:
            # A full disk is no reason to fail requests, nor one to complain at each of them.
            if not self._has_failed:
                self._has_failed = True
                logger.error("The access log cannot be written: %s", error)

    def reopen(self) -> None:
        """After the file was moved away: write to a new one. In one step, for other threads write meanwhile."""
        if self._path == "-":
            return
        try:
            fresh = self._open()
        except OSError as error:
            logger.error("The access log cannot be opened again, and goes on in the old file: %s", error)
            return
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)
        self.opened += 1


def combined_line(exchange: Exchange, began_s: float, queued_ns: int, took_ns: int, longest: int | None) -> bytes:
    """Apache's combined format, and the service time in microseconds behind it."""
    environ = exchange.environ
    when = time.localtime(began_s)
    offset = when.tm_gmtoff // 60
    return (
        f"{environ['REMOTE_ADDR'] or '-'} - - "
        f"[{when.tm_mday:02}/{_MONTHS[when.tm_mon - 1]}/{when.tm_year}"
        f":{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02} "
        f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}] "
        f'"{environ["REQUEST_METHOD"]} {_escaped(environ["RAW_URI"][:longest])} {environ["SERVER_PROTOCOL"]}" '
        f"{exchange.code} {exchange.sent} "
        f'"{_escaped(environ.get("HTTP_REFERER", "-")[:longest])}" '
        f'"{_escaped(environ.get("HTTP_USER_AGENT", "-")[:longest])}" {took_ns // 1000}\n'
    ).encode("ascii")


def json_line(exchange: Exchange, began_s: float, queued_ns: int, took_ns: int, longest: int | None) -> bytes:
    """One JSON object; path and query apart, so that the query can be dropped where it must not be kept."""
    environ = exchange.environ
    entry: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began_s)) + f".{int(began_s % 1 * 1000):03}Z",
        "remote": environ["REMOTE_ADDR"],
        "method": environ["REQUEST_METHOD"],
        "path": environ["RAW_URI"].partition("?")[0][:longest],
        "query": environ["QUERY_STRING"][:longest],
        "protocol": environ["SERVER_PROTOCOL"],
        "status": exchange.code,
        "bytes": exchange.sent,
        "queue_ms": round(queued_ns / 1e6, 3),
        "service_ms": round(took_ns / 1e6, 3),
        "referer": environ.get("HTTP_REFERER", "")[:longest],
        "user_agent": environ.get("HTTP_USER_AGENT", "")[:longest],
        "pid": os.getpid(),
    }
    # What the application's side knows of the request, from the middleware of request timing.
    report = environ.get("wsgiperf.report")
    if report is not None:
        for key, value in report().items():
            entry.setdefault(key, value)
    return json.dumps(entry).encode() + b"\n"


def _escaped(text: str) -> str:
    if _UNSAFE.search(text):
        return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] not in '"\\' else f"\\{found[0]}", text)
    return text
