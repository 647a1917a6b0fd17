"""One way to measure requests, in a process of its own: `python -m tests.benchmarks.metrics.child SETUP DATABASE`.

Waits for lines `PAGE SECONDS` on its input, asks its own WSGI handler for that page for so long, and prints the median
us of a request as JSON. So batches of all ways take turns within fractions of a second, and none is patched by another.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings

from tests.benchmarks.metrics.setups import SETUPS

PATHS = {"plain": "/plain/7/", "queries": "/queries/7/", "orm": "/orm/7/"}
LEAST = 3
"""Requests of a batch, however long one takes."""
WARM = 10

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def ask(application: WSGI, path: str) -> int:
    """One request, body and close() included, in ns."""
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_ACCEPT": "*/*", "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    status: list[str] = []
    begun_ns = time.perf_counter_ns()
    response: Any = application(environ, lambda line, headers, exc_info=None: status.append(line))
    for _ in response:
        pass
    response.close()
    took_ns = time.perf_counter_ns() - begun_ns
    if status != ["200 OK"]:
        raise SystemExit(f"{path} was answered with {status}")
    return took_ns


def batch(application: WSGI, path: str, seconds: float) -> float:
    """The median us of requests, of as many as there is time for."""
    until_ns = time.perf_counter_ns() + int(seconds * 1e9)
    took: list[int] = []
    while len(took) < LEAST or time.perf_counter_ns() < until_ns:
        took.append(ask(application, path))
    return statistics.median(took) / 1000


def main() -> None:
    setup = SETUPS[sys.argv[1]]
    settings.configure(**setup.settings(sys.argv[2]))
    django.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command

    call_command("migrate", verbosity=0, skip_checks=True)
    application = WSGIHandler()
    for path in PATHS.values():
        for _ in range(WARM):
            ask(application, path)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        page, seconds = line.split()
        print(json.dumps(batch(application, PATHS[page], float(seconds))), flush=True)


if __name__ == "__main__":
    main()
