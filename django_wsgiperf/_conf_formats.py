"""What texts must look like: addresses, networks, paths, files, tokens, dotted names, the errors of databases.

Each function takes one text and returns nothing, or raises `Refused` with what to write instead.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from django_wsgiperf._conf_errors import ProblemKind, Refused
from django_wsgiperf._conf_options import Format

ADDRESS_REMEDY = "write host:port, [v6]:port, unix:/path or fd://N, for example '127.0.0.1:8000'"
NETWORK_REMEDY = "write an address or a network, for example '10.0.0.0/8', or 'unix' for unix sockets"
HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
DIGITS = re.compile(r"[0-9]{1,9}")
URL_PATH = re.compile(r"/[!-~]*")
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
SQLSTATE = re.compile(r"[0-9A-Z]{5}")
MYSQL_ERROR = re.compile(r"[1-9][0-9]{3,4}")
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _refused(message: str, remedy: str) -> Refused:
    return Refused(ProblemKind.FORMAT, message, remedy)


def address(text: str) -> None:
    """A listening address. Port 0 lets the system choose one."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:") or "\0" in text:
            raise _refused(f"{text!r} names no socket file", "write the path, for example 'unix:/run/site.sock'")
    elif text.startswith("fd://"):
        if not DIGITS.fullmatch(text.removeprefix("fd://")):
            raise _refused(f"{text!r} names no open file number", "write the number, for example 'fd://3'")
    else:
        _tcp_address(text)


def _tcp_address(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        number = port if DIGITS.fullmatch(port) else "8000"
        remedy = f"write '127.0.0.1:{number}' for this machine only, '0.0.0.0:{number}' for every interface"
        if not colon and port and not DIGITS.fullmatch(port):
            remedy = ADDRESS_REMEDY
        raise _refused(f"{text!r} is no address with a port", remedy)
    if not DIGITS.fullmatch(port) or int(port) > 65_535:
        raise _refused(
            f"{port!r} in {text!r} is no port", "write a port from 1 to 65535, or 0 to have a free one chosen"
        )
    if host.startswith("[") and host.endswith("]"):
        if not _is_ipv6(host[1:-1]):
            raise _refused(f"{host!r} is no IPv6 address", f"write for example '[::1]:{port}'")
    elif _is_ipv6(host):
        raise _refused(f"{text!r} does not say where the IPv6 address ends", f"write '[{host}]:{port}'")
    elif re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise _refused(f"{host!r} is no IPv4 address", f"write for example '0.0.0.0:{port}'") from None
    elif not HOST_NAME.fullmatch(host):
        raise _refused(f"{host!r} is no host name", ADDRESS_REMEDY)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def network(text: str) -> None:
    """An IP address, a network, or `unix` for whoever connects through a unix socket."""
    if text == "unix":
        return
    if text == "*":
        raise _refused("'*' is no network", "write '0.0.0.0/0' and '::/0' if every address is really meant")
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise _refused(f"{text!r} is no address or network", NETWORK_REMEDY) from None
        raise _refused(f"{text!r} has bits set behind its prefix", f"write '{meant}'") from None


def url_path(text: str) -> None:
    """The path of a page that the server answers itself. Empty turns the page off."""
    if not text:
        return
    if not text.startswith("/"):
        raise _refused(f"{text!r} does not begin with a slash", f"write {'/' + text!r}")
    if not URL_PATH.fullmatch(text) or set(text) & set("?#%"):
        raise _refused(f"{text!r} is not a plain path", "write letters, digits and / - _ . only, for example '/-/live'")


def _is(text: str, what: Callable[[Path], bool]) -> bool:
    """Whether there is such a file or folder; not, when no path can be like that or nobody may look."""
    try:
        return what(Path(text))
    except (OSError, ValueError):
        return False


def input_file(text: str) -> None:
    """A file that has to be there."""
    if text and not _is(text, Path.is_file):
        raise _refused(f"there is no file {text!r}", "write the path of an existing file; absolute is safest")


def output_file(text: str) -> None:
    """A file that will be written, so that its folder has to be there. `-` is standard output."""
    if not text or text == "-":
        return
    if "\0" in text or _is(text, Path.is_dir):
        raise _refused(f"{text!r} cannot be a file", "write the path of a file in an existing folder")
    if not _is(os.path.dirname(text) or ".", Path.is_dir):
        raise _refused(
            f"there is no folder {str(Path(text).parent)!r}",
            "make the folder first, or write a path in another",
        )


def folder(text: str) -> None:
    """A folder that has to be there, found from wherever a process runs. Empty is none."""
    if text and not Path(text).is_absolute():
        raise _refused(f"{text!r} is not absolute", f"write {str(Path.cwd() / text)!r}, or another whole path")
    if text and not _is(text, Path.is_dir):
        raise _refused(f"there is no folder {text!r}", "make the folder first, or write the path of another")


def token(text: str) -> None:
    """A bearer token (RFC 6750 section 2.1). Its text must not get into the message."""
    if text and not TOKEN.fullmatch(text):
        raise _refused(
            "the token has characters that an Authorization header cannot carry",
            "write letters, digits and - . _ ~ + / only, for example the output of: openssl rand -hex 24",
        )


def http_url(text: str) -> None:
    """The address of a service, without a password in it, for it is shown. Empty is none."""
    if not text:
        return
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or not text.isascii() or not text.isprintable() or " " in text:
        raise _refused("that is no http address", "write for example 'http://localhost:4318/v1/metrics'")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _refused(
            "an address with a password, a query or a fragment is not taken, for it is shown",
            "write the plain address, and credentials into headers",
        )


def dotted_path(text: str) -> None:
    """A name that can be imported, with its module. Empty is none."""
    if text and not ("." in text and all(part.isidentifier() for part in text.split("."))):
        raise _refused(f"{text!r} is no dotted path", "write the module and the name, for example 'shop.db.is_primary'")


def database_error(text: str) -> None:
    """A SQLSTATE of PostgreSQL, or an error number of MySQL."""
    if not SQLSTATE.fullmatch(text) and not MYSQL_ERROR.fullmatch(text):
        raise _refused(
            f"{text!r} is no SQLSTATE and no error number of MySQL",
            "write five characters such as '57P01', or a number such as '1290'",
        )


def field_name(text: str) -> None:
    """The name of a header field, as of a cookie: a token (RFC 9110 section 5.6.2)."""
    if not FIELD_NAME.fullmatch(text):
        raise _refused(f"{text!r} is no name of a header field", "write its name alone, such as 'CDN-Cache-Control'")


def cookie(text: str) -> None:
    """The name of a cookie (RFC 6265 section 4.1.1)."""
    if not FIELD_NAME.fullmatch(text):
        raise _refused(f"{text!r} is no name of a cookie", "write its name alone, such as 'currency'")


VALIDATORS: dict[Format, Callable[[str], None]] = {
    Format.ADDRESS: address,
    Format.NETWORK: network,
    Format.URL_PATH: url_path,
    Format.INPUT_FILE: input_file,
    Format.OUTPUT_FILE: output_file,
    Format.FOLDER: folder,
    Format.TOKEN: token,
    Format.HTTP_URL: http_url,
    Format.DOTTED_PATH: dotted_path,
    Format.DATABASE_ERROR: database_error,
    Format.FIELD_NAME: field_name,
    Format.COOKIE: cookie,
}
