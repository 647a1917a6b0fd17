"""Listening sockets: opened before anything else begins, so that an address that cannot be had is told in one line.

The process that runs the command opens them; gunicorn's master, or the reloader's child, gets them as open file
descriptors. Nothing is accepted here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Sequence

from . import certificates

_LISTEN_FDS_START = 3
"""Where systemd's socket activation begins to count (sd_listen_fds(3))."""


class ListeningError(Exception):
    """An address cannot be listened on. The message is one line: what, why, and what to do instead."""


def open_listeners(addresses: Sequence[str], backlog: int) -> list[socket.socket]:
    """A listening socket for each address of WSGIPERF["SERVER"]["BIND"], in order. Raises ListeningError."""
    opened: list[socket.socket] = []
    try:
        for address in addresses:
            if address.startswith("fd://"):
                opened.append(_adopt(address, int(address.removeprefix("fd://"))))
            elif address.startswith("unix:"):
                opened.append(_open_unix(address, backlog))
            else:
                opened.append(_open_tcp(address, backlog, alone=not _has_ipv4_twin(address, addresses)))
    except ListeningError:
        close_listeners(opened, socket_files(addresses, opened))
        raise
    return opened


def close_listeners(sockets: Sequence[socket.socket], files: Sequence[str]) -> None:
    """Close the sockets and remove the files of those that were made here."""
    for sock in sockets:
        sock.close()
    for file in files:
        with contextlib.suppress(OSError):
            os.unlink(file)


def socket_files(addresses: Sequence[str], sockets: Sequence[socket.socket]) -> list[str]:
    """The files of the unix sockets that were opened for `addresses`; those given as fd:// are their owner's."""
    tried = addresses[: len(sockets)]  # Fewer than addresses, when one of them failed.
    return [os.path.abspath(address.removeprefix("unix:")) for address in tried if address.startswith("unix:")]


def systemd_addresses() -> tuple[str, ...]:
    """The sockets that systemd opened for this process, as fd:// addresses; the variables are taken away."""
    # A child that inherits the variables is not meant: LISTEN_PID tells.
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    count = os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_PID", None)
    os.environ.pop("LISTEN_FDNAMES", None)
    return tuple(f"fd://{_LISTEN_FDS_START + n}" for n in range(int(count) if count.isdigit() else 0))


def url(sock: socket.socket, *, tls: bool) -> str:
    """The address of a listening socket for people: http://127.0.0.1:8000, or unix:/run/site.sock."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """TLS 1.2 and later for HTTP/1.1. Raises ListeningError where the files do not make a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password is asked for on a terminal otherwise, which nobody sits at.
        context.load_cert_chain(certfile, keyfile, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ListeningError(
            f"Cannot use CERTFILE {certfile} with KEYFILE {keyfile}: {certificates.trouble(certfile, keyfile, error)}. "
            f"Both must be PEM, the key without a password, and belong together."
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _has_ipv4_twin(address: str, addresses: Sequence[str]) -> bool:
    """Whether the IPv6 wildcard would take the port that is listed for IPv4, too."""
    host, _, port = address.rpartition(":")
    return host == "[::]" and port != "0" and any(other.endswith(f":{port}") for other in addresses if other != address)


def _open_tcp(address: str, backlog: int, *, alone: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListeningError(
            f"Cannot listen on {address}: the host name {host!r} is unknown ({error.strerror}). "
            f"Write an address of this machine, for example 127.0.0.1:{port}."
        ) from error
    # A name that has both kinds of address means IPv4 to most of those who write it.
    family, kind, _, _, place = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = None
    try:
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] takes IPv4 too, unless the same port is listed for it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not alone)
        sock.bind(place)
        sock.listen(backlog)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ListeningError(explain(address, error)) from error
    return sock


def _open_unix(address: str, backlog: int) -> socket.socket:
    path = address.removeprefix("unix:")
    _remove_dead_socket(address, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        # Who may connect is decided by the folder's permissions, as with gunicorn.
        os.chmod(path, 0o666)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListeningError(explain(address, error)) from error
    return sock


def _remove_dead_socket(address: str, path: str) -> None:
    """Take away what a server left behind that did not end well; refuse what is still in use or no socket."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListeningError(explain(address, error)) from error
    if stat.S_ISDIR(mode):
        raise ListeningError(
            f"Cannot listen on {address}: that is a folder. Write the path of a file in it, for example "
            f"{address.rstrip('/')}/site.sock."
        )
    if not stat.S_ISSOCK(mode):
        raise ListeningError(
            f"Cannot listen on {address}: there is a file of that name, and it is no socket. "
            f"Remove it if nobody needs it, or write another path."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise ListeningError(explain(address, error)) from error
        else:
            raise ListeningError(explain(address, OSError(errno.EADDRINUSE, "")))


def _adopt(address: str, fd: int) -> socket.socket:
    def refusal(why: str) -> ListeningError:
        return ListeningError(
            f"Cannot listen on {address}: file descriptor {fd} {why}. Start serve from the program that opened the "
            f"socket and keeps it open for serve (systemd, circus), or write an address such as 127.0.0.1:8000."
        )

    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise refusal("is not open" if error.errno == errno.EBADF else "is no socket") from error
    try:
        listening = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (OSError, AttributeError):
        listening = True  # A system that does not tell.
    if not listening or sock.type != socket.SOCK_STREAM:
        sock.detach()  # It stays open for whoever it belongs to.
        raise refusal("is no listening stream socket")
    return sock


def explain(address: str, error: OSError) -> str:
    """Why an address cannot be listened on, and what to do: one line."""
    is_unix = address.startswith("unix:")
    port = "" if is_unix else address.rpartition(":")[2]
    another = "another path" if is_unix else "another port, for example 8001"
    match error.errno:
        case errno.EADDRINUSE:
            why, remedy = "another program listens there", f"Stop it, or write {another}"
        case errno.EACCES | errno.EPERM if not is_unix and int(port) < 1024:
            why = f"port {port} is reserved for root"
            remedy = (
                "Write a port from 1024 on and let a proxy listen there, or let systemd open the socket "
                "(socket activation, or AmbientCapabilities=CAP_NET_BIND_SERVICE)"
            )
        case errno.EACCES | errno.EPERM:
            why, remedy = "permission denied", "Write a path in a folder that this user may write to"
        case errno.EADDRNOTAVAIL:
            why = "this machine does not have that address"
            remedy = (
                f"Write one that it has: 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} for every interface"
            )
        case errno.EAFNOSUPPORT:
            why, remedy = "this machine does not speak IPv6", f"Write 127.0.0.1:{port} or 0.0.0.0:{port}"
        case errno.ENOENT | errno.ENOTDIR:
            folder = os.path.dirname(address.removeprefix("unix:"))
            is_missing = error.errno == errno.ENOENT
            why = f"there is no folder {folder}" if is_missing else f"{folder} is no folder"
            remedy = f"Make it, or write {another}" if is_missing else f"Write {another}"
        case _ if is_unix and "too long" in str(error):
            why, remedy = "a unix socket's path may have about 100 bytes", "Write a shorter one"
        case _:
            why, remedy = error.strerror or str(error), f"Write {another}"
    return f"Cannot listen on {address}: {why}. {remedy}."
