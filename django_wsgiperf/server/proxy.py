"""Which proxies are believed, and what a request becomes by what they say: its client, scheme, host and port.

No sockets. A proxy speaks through the PROXY protocol once a connection (proxy_protocol.py reads it) or through header
fields with each request (forwarded.py reads them). Everybody else's forwarding fields are taken out of the environ.
Without TRUSTED_PROXIES there is no ProxyTrust, and the environ is left as it came.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .addresses import UNIX, AddressList, server_name
from .forwarded import Forwarded, Malformed, from_forwarded, from_x_forwarded
from .http1 import HTTPError, split_host

if TYPE_CHECKING:
    from django_wsgiperf.conf import ServerSettings

    from .connection import Connection
    from .http1 import Environ
    from .proxy_protocol import ProxyHeader

logger = logging.getLogger("django_wsgiperf.server")

PROXY_KEY = "wsgiperf.proxy"
"""In the environ of a request that came through a proxy: the proxy's address, or "unix". Empty when forwarding fields
were there, but from somebody who is not believed, so that they were removed."""

_X_FORWARDED = "HTTP_X_FORWARDED_"
_FORWARDED = "HTTP_FORWARDED"
_READ = frozenset({_FORWARDED, *(_X_FORWARDED + name for name in ("FOR", "PROTO", "HOST", "PORT"))})
"""The fields that are understood here. Others that begin like them are only kept from those who are not trusted."""
_COMPLAIN_EVERY_S = 10.0


class ProxyTrust:
    """The proxies that are believed. One for a worker, used by its leader only.

    `trusted` may name their clients in header fields; `opening` begin each connection with a PROXY protocol header of
    one of `versions`. `hops` proxies at most are passed on the way from us to the client, all of them in `trusted`.
    `headers` are the fields that the proxies set: what they do not set, they may have passed on from the client."""

    def __init__(
        self,
        trusted: Iterable[str],
        *,
        hops: int = 1,
        headers: Iterable[str] = ("x-forwarded-for", "x-forwarded-proto"),
        opening: Iterable[str] = (),
        versions: tuple[int, ...] = (1, 2),
    ) -> None:
        self.trusted = AddressList(trusted)
        self.opening = AddressList(opening)
        self.versions = versions
        self.complain = Complaints()
        self._hops = hops
        named = {f"HTTP_{name.upper().replace('-', '_')}" for name in headers}
        self._not_set = _READ - named
        self._uses_forwarded = _FORWARDED in named

    @classmethod
    def from_settings(cls, settings: ServerSettings) -> ProxyTrust | None:
        """None when nobody is believed."""
        if not settings.trusted_proxies:
            return None
        return cls(
            settings.trusted_proxies,
            hops=settings.proxy_hops,
            headers=settings.proxy_headers,
            opening=settings.trusted_proxies if settings.proxy_protocol else (),
        )

    # -- the PROXY protocol

    def expects_header(self, connection: Connection) -> bool:
        """Whether the connection has to begin with a PROXY protocol header: decided by who it is from, never by what.

        Others are served as if the protocol did not exist; a header of theirs is a malformed request."""
        return bool(self.opening) and (UNIX if connection.listener.unix else connection.peer) in self.opening

    def take_header(self, connection: Connection, header: ProxyHeader) -> None:
        """From here on the connection is the client's that `header` names."""
        if header.local:
            return
        told: dict[str, Any] = {PROXY_KEY: UNIX if connection.listener.unix else connection.peer}
        if header.tls:
            told["wsgi.url_scheme"] = "https"
        if header.authority:
            told["wsgiperf.proxy_authority"] = header.authority
        if header.destination is not None and header.destination[0]:
            address, told["SERVER_PORT"] = header.destination
            told["SERVER_NAME"] = server_name(address)
        if header.source is None:
            # The specification wants the real connection's address shown. But it is not the proxy who speaks.
            told["REMOTE_ADDR"], told["REMOTE_PORT"] = connection.peer, connection.peer_port
            connection.peer = connection.peer_port = ""
        else:
            connection.peer, connection.peer_port = header.source
        connection.told = told

    # -- header fields

    def apply(self, connection: Connection, environ: Environ) -> None:
        """Make `environ` that of the client's request, as far as the peer is believed. Raises HTTPError 400."""
        told = connection.told
        if told is not None:
            environ.update(told)
        names = [name for name in environ if name.startswith(_X_FORWARDED)]
        if _FORWARDED in environ:
            names.append(_FORWARDED)
        if not names:
            return
        # After a PROXY header the peer is the client it named, so that a client cannot name another one in fields.
        peer = UNIX if told is None and connection.listener.unix else connection.peer
        if peer not in self.trusted:
            for name in names:
                del environ[name]
            if told is None:
                environ[PROXY_KEY] = ""
            return
        environ[PROXY_KEY] = peer
        for name in names:
            if name in self._not_set:
                del environ[name]
        read = from_forwarded if self._uses_forwarded else from_x_forwarded
        try:
            _settle(environ, read(environ, self.trusted, self._hops))
        except Malformed as error:
            self.complain("The trusted proxy %s sent a malformed %s: %.200r", peer, error.field, error.value)
            raise HTTPError(400, f"malformed {error.field}") from None


def _settle(environ: Environ, said: Forwarded) -> None:
    """Put what was said into the variables that applications read."""
    if said.client is not None:
        # Where the client is not known, or came by a unix socket, there is no address; never the proxy's.
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = said.client
    if not (said.scheme or said.host or said.port):
        return
    scheme = environ["wsgi.url_scheme"] = said.scheme or environ["wsgi.url_scheme"]
    usual = "443" if scheme == "https" else "80"
    host, port = said.host, said.port
    if host:
        name, own_port = split_host(host)
        if not own_port and port not in ("", usual):
            host = f"{name}:{port}"
        port = own_port or port
        environ["HTTP_HOST"] = host
        environ["SERVER_NAME"] = name
    elif not port and "HTTP_HOST" in environ:
        port = split_host(environ["HTTP_HOST"])[1]
    environ["SERVER_PORT"] = port or usual


def address_for_access(connection: Connection, environ: Environ, trust: ProxyTrust | None) -> str:
    """Whose address decides about access: an address, "unix", or "" when it cannot be known for sure.

    That is the client's, not the proxy's. Not known are: the client of a proxy that does not name it, or names a proxy
    (so that there is one more than PROXY_HOPS counts), and the sender of a request with forwarding fields that nobody
    vouches for. Who adds such fields to be taken for another only loses access."""
    proxy = environ.get(PROXY_KEY)
    if proxy is None:
        if _FORWARDED in environ or any(name.startswith(_X_FORWARDED) for name in environ):
            return ""  # Nobody is trusted, and the fields are there as they came.
        return UNIX if connection.listener.unix else connection.peer
    address: str = environ["REMOTE_ADDR"]
    return "" if proxy in ("", address) or trust is None or address in trust.trusted else address


class Complaints:
    """Warnings that strangers can cause as often as they like: one in `every_s` seconds, and how many there were."""

    def __init__(self, every_s: float = _COMPLAIN_EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._next_s = float("-inf")
        self._withheld = 0

    def __call__(self, message: str, *values: object) -> None:
        now = self._clock()
        if now < self._next_s:
            self._withheld += 1
            return
        self._next_s = now + self._every_s
        withheld, self._withheld = self._withheld, 0
        if withheld:
            logger.warning(message + " (and %d more such complaints before it)", *values, withheld)
        else:
            logger.warning(message, *values)
