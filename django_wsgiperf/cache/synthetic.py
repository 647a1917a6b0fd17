"""The request that the cache itself makes to have a page made anew: the page's own, and nobody's.

It has the address, the nominated fields as the request that the stored response answered has them, and what the proxy
said of scheme and host. No session, no credentials, no conditions, no range, no address of a client.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from .entry import Entry
from .messages import Request
from .normalise import COOKIE, cookie_value

if TYPE_CHECKING:
    from .site import Site

REFRESH: Final = "wsgiperf.refresh"
"""The environ key that says so."""
_NEVER: Final = frozenset({"authorization", "proxy-authorization", "range", "if-range"})


def is_anybodys(entry: Entry) -> bool:
    """Whether a request of nobody's gets what the entry is: not where it is for certain credentials."""
    return not any(value is not None and name in _NEVER for name, value in entry.vary)


def environ_for(request: Request, entry: Entry, site: Site) -> dict[str, Any]:
    """An environ for a GET of the page that `entry` is, which answered `request`."""
    name, _, port = request.host.rpartition(":") if _has_port(request.host) else (request.host, "", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": request.path[: request.script],
        "PATH_INFO": request.path[request.script :],
        "QUERY_STRING": request.query,
        "SERVER_NAME": name,
        "SERVER_PORT": port or ("443" if request.scheme == "https" else "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "0.0.0.0",
        "HTTP_HOST": request.host,
        "HTTP_USER_AGENT": "django-wsgiperf (refresh)",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        REFRESH: True,
    }
    for key in site.forwarding():
        field = key.removeprefix("HTTP_").lower().replace("_", "-")
        if field in request.fields:
            environ[key] = request.fields[field]
    cookies = []
    sent = request.fields.get("cookie", "")
    for field, _ in entry.vary:
        if field in _NEVER:
            continue
        if field == "cookie":
            significant = site.keys.significant_cookies(sent)
            cookies += [significant] if significant else []
        elif field.startswith(COOKIE):
            name = field.removeprefix(COOKIE)
            value = cookie_value(sent, name)
            if value is not None:
                cookies.append(f"{name}={value}")
        elif (field := field.partition("=")[0]) in request.fields:
            environ[_key(field)] = request.fields[field]
        else:
            # What the page was made without, it is made anew without.
            environ.pop(_key(field), None)
    if site.language is not None:
        if "accept-language" in request.fields:
            environ["HTTP_ACCEPT_LANGUAGE"] = request.fields["accept-language"]
        chosen = cookie_value(request.fields.get("cookie", ""), site.language_cookie)
        if chosen is not None and cookie_value("; ".join(cookies), site.language_cookie) is None:
            cookies.append(f"{site.language_cookie}={chosen}")
    if cookies:
        environ["HTTP_COOKIE"] = "; ".join(cookies)
    return environ


def _key(field: str) -> str:
    return "CONTENT_TYPE" if field == "content-type" else f"HTTP_{field.upper().replace('-', '_')}"


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
