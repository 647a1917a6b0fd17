"""A relay on loopback between a client and a database server, which counts the round trips of what passes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

_CONNECTIONS = 50


class Proxy:
    """`round_trips` are the times that a client spoke after the server had; `connections` those accepted."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.connections = 0
        self.round_trips = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._relay, name="test-proxy", daemon=True)
        self._thread.start()

    def _relay(self) -> None:
        client_spoke: dict[socket.socket, bool] = {}
        peers: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as open_sockets:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    ready = key.fileobj
                    assert isinstance(ready, socket.socket)
                    if ready is self._woken:
                        return
                    if ready is self._listener:
                        client = open_sockets.enter_context(self._listener.accept()[0])
                        self.connections += 1
                        assert self.connections <= _CONNECTIONS
                        server = open_sockets.enter_context(socket.create_connection(self.server))
                        for one, other in ((client, server), (server, client)):
                            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            peers[one] = other
                            selector.register(one, selectors.EVENT_READ)
                        client_spoke[client] = False
                        continue
                    peer = peers[ready]
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        data = b""
                    if ready in client_spoke:
                        if data and not client_spoke[ready]:
                            client_spoke[ready] = True
                            self.round_trips += 1
                    elif data:
                        client_spoke[peer] = False
                    if data:
                        with contextlib.suppress(OSError):
                            peer.sendall(data)
                    else:
                        selector.unregister(ready)
                        with contextlib.suppress(OSError):
                            peer.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        self._wake.send(b"x")
        self._thread.join(10)
        for each in (self._listener, self._wake, self._woken):
            each.close()


@contextlib.contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """A proxy for the time of the block."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.stop()
