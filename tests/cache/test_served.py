"""`manage.py serve` puts the cache before the application: processes of its own, two workers, a real Redis."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.server.processes import Serve, amend, get

from .fakes import Worker, eventually

DEADLINE_S = 30.0
PROJECT = {
    "site_settings.py": """
import os
SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["127.0.0.1", "shop.example"]
ROOT_URLCONF = "site_urls"
WSGI_APPLICATION = "site_wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles", "django_wsgiperf"]
STATIC_URL = "/static/"
STATICFILES_DIRS = [os.path.join(os.path.dirname(__file__), "assets")]
MIDDLEWARE = [
    "django_wsgiperf.middleware.RequestTimingMiddleware",
    "django_wsgiperf.middleware.ResponseCacheMiddleware",
    "django.middleware.common.CommonMiddleware",
]
DEBUG = False
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if "REDIS" in os.environ:
    CACHES["pages"] = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["REDIS"]}
WSGIPERF = {
    "CACHE": {"STORE": "pages" if "REDIS" in os.environ else "", "STORE_TIMEOUT_S": 5.0},
    "METRICS": {"STORE": "memory"},
}
""",
    "site_wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "site_urls.py": """
import os, time
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.cache.purging import purge
MADE = []
@cache_response(ttl=3600, tags=["books"])
def books(request):
    MADE.append(1)
    return HttpResponse(f"made by {os.getpid()}: {len(MADE)}")
@cache_response(ttl=3600)
def slow(request):
    MADE.append(1)
    with open("made", "a") as file:
        file.write("x")
    while not os.path.exists("ready"):
        time.sleep(0.01)
    return HttpResponse("slow", headers={"Cache-Control": request.GET.get("cc", "public")})
def numbers(request):
    from django_wsgiperf.metrics import query
    return JsonResponse({row.route: dict(row.totals.page_cache) for row in query.routes("15m")})
def pid(request):
    return HttpResponse(str(os.getpid()))
@csrf_exempt
def order(request):
    return HttpResponse(str(purge(tags=["books"]).everywhere))
urlpatterns = [path("books/", books), path("pid", pid), path("slow", slow), path("purge", order)]
urlpatterns.append(path("numbers", numbers))
""",
    "manage.py": """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "style.css").write_text("body {}")
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def ask(port: int, path: str, method: str = "GET") -> tuple[str, str]:
    """The body and the Cache-Status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.read().decode(), response.getheader("Cache-Status", "")
    finally:
        connection.close()


def together(port: int, path: str) -> set[str]:
    """The bodies of several requests at once. One after the other, they may long go to the same worker."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S) for _ in range(12)]
    try:
        for connection in connections:
            connection.connect()
        for connection in connections:
            connection.request("GET", path)
        return {connection.getresponse().read().decode() for connection in connections}
    finally:
        for connection in connections:
            connection.close()


@pytest.fixture
def serve(project: Path) -> Iterator[list[Serve]]:
    """What a test has started, for it to be ended."""
    started: list[Serve] = []
    yield started
    for each in started:
        each.stop()


def start(serve: list[Serve], project: Path, *arguments: str, **environ: str) -> int:
    serve.append(Serve(project, "--threads", "4", *arguments, **environ))
    return serve[-1].wait_until_it_serves()


def both(port: int) -> set[str]:
    """The process ids of the two workers."""
    found: set[str] = set()

    def seen() -> bool:
        found.update(together(port, "/pid"))
        return len(found) == 2

    eventually(seen, DEADLINE_S)
    return found


def test_two_workers_share_pages_and_purges(serve: list[Serve], project: Path, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.flushdb()
    port = start(serve, project, "--workers", "2", REDIS=redis_url)
    both(port)
    first, status = ask(port, "/books/")
    assert status == "wsgiperf; fwd=uri-miss; stored"
    # Whoever answers: one process has made it.
    assert {ask(port, "/books/") for _ in range(40)} == {(first, "wsgiperf; hit")}
    for _ in range(5):
        old = ask(port, "/books/")[0]
        assert ask(port, "/purge", "POST")[0] == "True"
        purged_at = time.monotonic()
        eventually(lambda old=old: ask(port, "/books/")[0] != old, DEADLINE_S)
        # Typically in a tenth of a second; from then on nobody answers with the old page.
        while time.monotonic() < purged_at + 0.5:
            ask(port, "/books/")
        assert old not in {ask(port, "/books/")[0] for _ in range(40)}


@pytest.mark.parametrize("cache_control", ["public", "private"])
def test_a_crowd_before_a_slow_page_leaves_the_pool_to_others(
    serve: list[Serve], project: Path, cache_control: str
) -> None:
    port = start(serve, project, WSGIPERF_CACHE_WAIT_S="60")
    target = f"/slow?cc={cache_control}"
    crowd = [Worker(lambda: ask(port, target)) for _ in range(40)]
    eventually(lambda: (project / "made").exists())
    try:
        for _ in range(20):
            assert ask(port, "/pid")[0].isdecimal()
        assert (project / "made").read_text() == "x"
        assert all(worker.is_alive() for worker in crowd)
    finally:
        (project / "ready").touch()
    assert {worker.result()[0] for worker in crowd} == {"slow"}
    assert len((project / "made").read_text()) == (1 if cache_control == "public" else 40)
    assert ask(port, "/pid")[0].isdecimal()


def test_pages_that_another_server_makes_leave_the_pool_to_others(
    serve: list[Serve], project: Path, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.flushdb()
    patient = {"WSGIPERF_CACHE_WAIT_S": "60", "WSGIPERF_CACHE_LEASE_S": "60", "WSGIPERF_STATS_ALLOW": "127.0.0.1"}
    first, second = (start(serve, project, REDIS=redis_url, **patient) for _ in range(2))
    making = [Worker(lambda n=n: get(first, f"/slow?{n}", Host="shop.example")) for n in range(3)]
    eventually(lambda: (project / "made").exists() and (project / "made").read_text() == "xxx", DEADLINE_S)
    waiting = [Worker(lambda n=n: get(second, f"/slow?{n}", Host="shop.example")) for n in range(3) for _ in range(4)]

    def all_wait() -> bool:
        running = json.loads(ask(second, "/-/stats")[0])["running"]
        return sum(each["path"] == "/slow" for each in running) == len(waiting)

    try:
        eventually(all_wait, DEADLINE_S)
        for _ in range(20):
            assert ask(second, "/pid")[0].isdecimal()
        assert all(worker.is_alive() for worker in waiting)
    finally:
        (project / "ready").touch()
    assert {worker.result() for worker in (*making, *waiting)} == {(200, "slow")}
    assert (project / "made").read_text() == "xxx", "each was made once"


def test_hits_are_answered_while_every_thread_is_stuck_and_are_measured(serve: list[Serve], project: Path) -> None:
    port = start(serve, project, "--access-log", "json", "--access-log-file", "log", WSGIPERF_METRICS_INTERVAL_S="1")
    for _ in range(2):
        first = ask(port, "/books/")  # The first hit may take a thread.
    assert first[1] == "wsgiperf; hit"
    stuck = [Worker(lambda number=number: ask(port, f"/slow?{number}")) for number in range(8)]
    eventually(lambda: (project / "made").exists() and len((project / "made").read_text()) == 4)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        names = set()
        for _ in range(20):
            connection.request("GET", "/books/")
            response = connection.getresponse()
            assert (response.read().decode(), response.getheader("Cache-Status")) == first
            names.add(response.getheader("X-Request-ID"))
        connection.close()
        assert len(names) == 20
        assert all(worker.is_alive() for worker in stuck)
    finally:
        (project / "ready").touch()
    assert {worker.result()[0] for worker in stuck} == {"slow"}
    hits: list[dict[str, str]] = []

    def written() -> bool:
        lines = [json.loads(line) for line in (project / "log").read_text().split("\n")[:-1]]
        hits[:] = [line for line in lines if line.get("page_cache") == "hit"]
        return len(hits) == 21

    eventually(written, DEADLINE_S)
    assert names <= {line["request_id"] for line in hits}
    assert {line["route"] for line in hits} == {"/books/"}
    eventually(lambda: json.loads(ask(port, "/numbers")[0]).get("/books/") == {"miss": 1, "hit": 21}, DEADLINE_S)


def test_two_workers_without_a_store_hear_of_purges_too(serve: list[Serve], project: Path) -> None:
    port = start(serve, project, "--workers", "2")
    workers = both(port)
    made: set[str] = set()

    def made_by_both() -> bool:
        made.update(together(port, "/books/"))
        return {text.split()[2].rstrip(":") for text in made} == workers

    eventually(made_by_both, DEADLINE_S)
    # On a busy machine the other may be late with its answer; then it says so, and may be asked again.
    eventually(lambda: ask(port, "/purge", "POST")[0] == "True", DEADLINE_S)
    assert not made & {ask(port, "/books/")[0] for _ in range(40)}


def test_static_files_of_a_developer_are_not_the_caches(serve: list[Serve], project: Path) -> None:
    amend(project / "site_settings.py", "DEBUG = False", "DEBUG = True")
    port = start(serve, project)
    for _ in range(2):
        assert ask(port, "/static/style.css") == ("body {}", "")
    ask(port, "/books/")
    assert ask(port, "/books/")[1] == "wsgiperf; hit"


def test_an_application_that_is_wrapped_already_is_not_wrapped_again(serve: list[Serve], project: Path) -> None:
    amend(project / "site_wsgi.py", "django.core.wsgi", "django_wsgiperf.wsgi")
    port = start(serve, project)
    ask(port, "/books/")
    assert ask(port, "/books/")[1] == "wsgiperf; hit"


def test_refused_host_is_not_answered(serve: list[Serve], project: Path) -> None:
    port = start(serve, project)
    get(port, "/books/", Host="shop.example")
    assert get(port, "/books/", Host="shop.example")[0] == 200
    assert get(port, "/books/", Host="evil.example")[0] == 400


def test_unusable_store_is_told_in_one_line_before_anything_is_served(serve: list[Serve], project: Path) -> None:
    amend(project / "site_settings.py", '"STORE": "pages" if "REDIS" in os.environ else ""', '"STORE": "default"')
    serve.append(Serve(project, "--skip-checks"))
    assert serve[-1].wait() == 1
    assert "WSGIPERF['CACHE']['STORE'] is 'default'" in serve[-1].text
    assert "Traceback" not in serve[-1].text
