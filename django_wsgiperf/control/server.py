"""The listening side: one daemon thread, `wsgiperf-control`, that accepts, reads a question and has it answered.

Started lazily, once in each process that serves; a forked child lets go of its parent's socket, and listens on one of
its own when it is started there. The socket's name goes when the process ends; whoever finds one left over removes it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from typing import Final

from . import folder, handlers
from .wire import REQUEST_MAX, Reader, WireError, peer_user

logger = logging.getLogger("django_wsgiperf.control")

_BACKLOG: Final = 64
_CONNECTIONS_MAX: Final = 32
"""Questions that are being read at once; more are hung up on."""
_READ_S: Final = 5.0
"""So long a question may take to come, and an answer to be taken."""
_LOOK_S: Final = 15.0
"""Between two looks whether the socket's name is still there: folders of temporary files are tidied by others."""

_lock = threading.Lock()
"""Guards _server."""
_server: ControlServer | None = None


def start() -> bool:
    """Have this process take part, if it does not yet. Whether it does; where it cannot, why is logged once."""
    global _server
    server = _server
    if server is not None and server.is_alive:
        return True
    with _lock:
        if _server is not None and _server.is_alive:
            return True
        try:
            folder.tidy()
            server = ControlServer()
            server.start()
        except folder.Unavailable as error:
            folder.say_once(str(error))
            return False
        except (OSError, RuntimeError) as error:  # No descriptors, no threads, or the interpreter ends.
            if threading.main_thread().is_alive():
                folder.say_once(f"{type(error).__name__}: {error}")
            return False
        _server = server
    return True


def stop() -> None:
    """Take part no longer, and remove the socket's name."""
    global _server
    with _lock:
        server, _server = _server, None
    if server is not None:
        server.stop()


def is_running() -> bool:
    """Whether this process takes part."""
    server = _server
    return server is not None and server.is_alive


class ControlServer:
    """Listens from its start() to its stop(); raises folder.Unavailable or OSError where it cannot."""

    def __init__(self) -> None:
        self._path = folder.own_path()
        self._listener, self._inode = _listen(self._path)
        self._wake_in, self._wake_out = socket.socketpair()
        self._stopping = threading.Event()
        self._connections: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="wsgiperf-control", daemon=True)

    @property
    def is_alive(self) -> bool:
        return not self._stopping.is_set() and self._thread.is_alive()

    def start(self) -> None:
        try:
            self._thread.start()
        except BaseException:
            folder.sweep(self._path)
            self.forget()
            raise

    def stop(self) -> None:
        self._stopping.set()
        folder.sweep(self._path)
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def forget(self) -> None:
        """Close all descriptors; in a forked child, where they are the parent's, too, and stay open there."""
        self._stopping.set()
        self._selector.close()
        for sock in (self._listener, self._wake_in, self._wake_out, *self._connections):
            with contextlib.suppress(OSError):
                sock.close()
        self._connections.clear()

    # -- in the thread

    def _run(self) -> None:
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        look_at = time.monotonic() + _LOOK_S
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                    if time.monotonic() >= look_at:
                        look_at = time.monotonic() + _LOOK_S
                        self.look()
                except Exception:
                    if self._stopping.is_set():
                        return
                    logger.critical("The control channel failed in one turn; it goes on", exc_info=True)
                    self._stopping.wait(0.1)
        finally:
            self.forget()

    def _turn(self) -> None:
        for key, _ in self._selector.select(1.0 if self._connections else _LOOK_S):
            sock = key.fileobj
            if sock is self._listener:
                self._accept()
            elif sock is not self._wake_in:
                self._read(self._connections[sock])  # type: ignore[index]
        now = time.monotonic()
        for connection in [each for each in self._connections.values() if now > each.deadline]:
            self._release(connection).close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= _CONNECTIONS_MAX or not is_ours(sock):
            sock.close()
            return
        sock.setblocking(False)
        self._connections[sock] = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(REQUEST_MAX)
            question = connection.reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, WireError):
            self._release(connection).close()
            return
        if question is None:
            if not data:
                self._release(connection).close()
            return
        sock = self._release(connection)
        topic, message = question.get("topic"), question.get("message")
        if not isinstance(topic, str) or not isinstance(message, dict):
            sock.close()
            return
        handlers.begin(topic, message, lambda encoded: _reply(sock, encoded))

    def _release(self, connection: _Connection) -> socket.socket:
        """Take a connection out of the thread's hands."""
        del self._connections[connection.sock]
        self._selector.unregister(connection.sock)
        return connection.sock

    def look(self) -> None:
        """Should somebody have removed the socket's name, listen under it anew."""
        with contextlib.suppress(OSError):
            if os.lstat(self._path).st_ino == self._inode:
                return
        if self._stopping.is_set():
            return
        try:
            self._path = folder.own_path()
            listener, self._inode = _listen(self._path)
        except (folder.Unavailable, OSError) as error:
            folder.say_once(str(error))
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)


class _Connection:
    __slots__ = ("deadline", "reader", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = Reader(REQUEST_MAX)
        self.deadline = time.monotonic() + _READ_S


def is_ours(sock: socket.socket) -> bool:
    """Whether the other end is the same user's, or the system does not tell: then the folder's mode has to do."""
    try:
        return peer_user(sock) in (None, os.geteuid())
    except OSError:
        return False


def _listen(path: str) -> tuple[socket.socket, int]:
    """A listening socket with that name, and its inode. The name appears when it listens already, never before."""
    hidden = os.path.join(os.path.dirname(path), "." + os.path.basename(path))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        folder.sweep(hidden)
        listener.bind(hidden)
        os.chmod(hidden, 0o600)
        listener.listen(_BACKLOG)
        inode = os.lstat(hidden).st_ino
        os.rename(hidden, path)
    except BaseException:
        listener.close()
        raise
    return listener, inode


def _reply(sock: socket.socket, encoded: bytes) -> None:
    """Send an answer, as far as it is taken in time. Usually in the handler's thread."""
    with contextlib.suppress(OSError), contextlib.closing(sock):
        sock.settimeout(_READ_S)
        sock.sendall(encoded)


def _after_fork_in_child() -> None:
    global _lock, _server
    _lock = threading.Lock()
    server, _server = _server, None
    if server is not None:
        server.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(stop)
