"""A small project with pages that are kept and pages that are not, served in processes of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.server.processes import DEADLINE_S, Serve, run

from .running import Outcome

FILES = {
    "manage.py": """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "shop_settings.py": """
import os
SECRET_KEY = "@KEY@"
ALLOWED_HOSTS = ["shop.example", "127.0.0.1"]
ROOT_URLCONF = "shop_urls"
WSGI_APPLICATION = "shop_wsgi.application"
INSTALLED_APPS = ["django_wsgiperf"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
LANGUAGES = [("en", "English"), ("de", "German"), ("cy", "Welsh")]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
STORE = os.environ.get("SHOP_REDIS", "")
if STORE:
    CACHES["pages"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": STORE}
WSGIPERF = {
    "CACHE": {"STORE": "pages" if STORE else "", "EXCLUDE": ["/account/"], "JITTER": 0.0},
    "METRICS": {"STORE": "memory"},
}
""",
    "shop_wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "shop_urls.py": """
import os, time
from django.http import HttpResponse
from django.urls import path
from django_wsgiperf.cache.decorators import cache_response
def book(request, pk):
    request.wsgiperf.cache.tag(f"book:{pk}")
    return HttpResponse(f"book {pk} by {os.getpid()} " * 200)
def basket(request):
    response = HttpResponse("basket", headers={"Cache-Control": "max-age=60"})
    response.set_cookie("basket", "swordfish")
    return response
def greeting(request):
    return HttpResponse(request.headers.get("Accept-Language", "none"), headers={"Vary": "Accept-Language, Cookie"})
def pid(request):
    time.sleep(0.05)
    return HttpResponse(str(os.getpid()))
def account(request):
    return HttpResponse("account", headers={"Cache-Control": "max-age=60"})
urlpatterns = [
    path("books/<int:pk>/", cache_response(600, swr=60, tags=["books"])(book), name="book"),
    path("greeting/", cache_response(60)(greeting), name="greeting"),
    path("bücher/", cache_response(60)(lambda request: HttpResponse(request.GET.get("q", "none"))), name="umlaut"),
    path("basket/", basket, name="basket"),
    path("account/", account, name="account"),
    path("plain/", lambda request: HttpResponse("plain")),
    path("pid/", pid),
]
""",
}


def write(folder: Path) -> Path:
    """Write the project. Each has a key of its own, so that no two find each other's processes."""
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("@KEY@", secrets.token_hex(25)).lstrip())
    return folder


@dataclass(slots=True)
class Shop:
    """The running project."""

    folder: Path
    server: Serve
    port: int
    environ: dict[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One answer, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()

    def is_hit(self, path: str) -> bool:
        """Whether the next answer comes from the cache."""
        return "hit" in self.get(path)[1]["cache-status"]

    def wsgiperf(self, *arguments: str, **environ: str) -> Outcome:
        """The command, in a process of its own."""
        done = run(self.folder, "wsgiperf", *arguments, **{**self.environ, **environ})
        return Outcome(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> dict[str, Any]:
        """What the command says as JSON."""
        outcome = self.wsgiperf(*arguments, "--json")
        assert "Traceback" not in outcome.err, outcome.err
        found: dict[str, Any] = json.loads(outcome.out)
        return found

    def visit_every_process(self, path: str, processes: int) -> None:
        """Have each of so many processes keep the page. A connection stays with the process that accepted it."""
        deadline_s = time.monotonic() + DEADLINE_S
        with contextlib.ExitStack() as opened, ThreadPoolExecutor(8) as threads:
            leads_to: dict[bytes, http.client.HTTPConnection] = {}
            while len(leads_to) < processes:
                assert time.monotonic() < deadline_s, f"only {len(leads_to)} of {processes} processes answer"
                fresh = [
                    opened.enter_context(
                        contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S))
                    )
                    for _ in range(8)
                ]
                # All at once and slowly, so that no process takes all of them.
                leads_to.update(zip(threads.map(partial(_ask, path="/pid/"), fresh), fresh, strict=True))
            for connection in leads_to.values():
                _ask(connection, path)


def _ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


def squeezed(text: str) -> list[str]:
    """The lines of a text that are not empty, with one blank where there are several."""
    return [" ".join(line.split()) for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
