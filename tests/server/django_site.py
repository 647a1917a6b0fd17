"""The views that a Django site's users meet, for the tests of the server: forms, uploads, streams, files, errors."""

from __future__ import annotations

import json
import tempfile
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, csrf_protect

THIS_FILE = Path(__file__)


class Counts:
    """What happened to each request, by its path."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.files: list[str] = []

    def add(self, kind: str, where: str) -> None:
        with self.lock:
            self.events.append((kind, where))

    def of(self, kind: str, where: str) -> int:
        with self.lock:
            return self.events.count((kind, where))


counts = Counts()
_running = threading.local()


def count_started(sender: Any, environ: dict[str, Any], **kwargs: Any) -> None:
    _running.path = environ["PATH_INFO"]
    counts.add("started", environ["PATH_INFO"])


def count_finished(sender: Any, **kwargs: Any) -> None:
    counts.add("finished", getattr(_running, "path", ""))


class Counted(HttpResponse):
    """A response that tells how often it is closed."""

    def close(self) -> None:
        counts.add("closed", getattr(_running, "path", ""))
        super().close()


class CountedStream(StreamingHttpResponse):
    def close(self) -> None:
        counts.add("closed", getattr(_running, "path", ""))
        super().close()


class CountedFile(FileResponse):
    def close(self) -> None:
        counts.add("closed", getattr(_running, "path", ""))
        super().close()


def plain(request: HttpRequest) -> HttpResponse:
    return Counted("plain")


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    """The body as Django has it, and how long it was said to be."""
    return HttpResponse(request.body, headers={"X-Length": request.META.get("CONTENT_LENGTH", "none")})


@csrf_exempt
def post_values(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


@csrf_exempt
def ignore(request: HttpRequest) -> HttpResponse:
    """The body is left unread."""
    return HttpResponse("ignored")


@csrf_exempt
def read(request: HttpRequest) -> HttpResponse:
    """The body by the way that ?by= names."""
    by = request.GET["by"]
    if by == "read":
        data = request.read()
    elif by == "pieces":
        data = b"".join(iter(lambda: request.read(7), b""))
    elif by == "readline":
        data = b"".join(iter(request.readline, b""))
    elif by == "readlines":
        data = b"".join(request.readlines())
    else:
        data = b"".join(request)
    return HttpResponse(data)


def count_visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


@csrf_protect
def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse(f"thanks, {request.POST['name']}")
    return HttpResponse(get_token(request))


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    told = {}
    for name, file in request.FILES.items():
        temporary = getattr(file, "temporary_file_path", None)
        if temporary is not None:
            counts.files.append(temporary())
        told[name] = [file.name, file.size, sum(file.read()), temporary is not None]  # type: ignore[union-attr]
    return JsonResponse({"files": told, "fields": request.POST.dict()})


def download(request: HttpRequest) -> FileResponse:
    return CountedFile(THIS_FILE.open("rb"), as_attachment=True)


def temporary(request: HttpRequest) -> FileResponse:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed with the response
    counts.files.append(file.name)
    file.write(b"temporary" * 100_000)
    file.seek(0)
    return CountedFile(file, filename="t.bin")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return CountedStream(pieces())


def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return CountedStream(pieces())


async def view_async(request: HttpRequest) -> HttpResponse:
    await User.objects.aexists()
    return HttpResponse("async")


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("a view that fails")


def fail_in_stream(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        yield "first"
        raise ValueError("a stream that fails")

    return CountedStream(pieces())


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


def unchanged(request: HttpRequest) -> HttpResponseBase:
    return HttpResponseNotModified(headers={"ETag": '"x"'})


def users(request: HttpRequest) -> HttpResponse:
    if name := request.GET.get("create"):
        User.objects.create(username=name)
    return JsonResponse({"users": list(User.objects.order_by("username").values_list("username", flat=True))})


def ask_itself(request: HttpRequest) -> HttpResponse:
    """A view that asks another of the same server, and sees its rows."""
    before = User.objects.count()
    with urllib.request.urlopen(request.build_absolute_uri("/users?create=nested")) as response:
        json.load(response)
    return HttpResponse(str(User.objects.count() - before))


def environ(request: HttpRequest) -> HttpResponse:
    return JsonResponse({key: value for key, value in request.META.items() if isinstance(value, str)})


def thread(request: HttpRequest) -> HttpResponse:
    """Which thread runs this, and what its database calls the connection."""
    connection.ensure_connection()
    return JsonResponse({"thread": threading.current_thread().name, "connection": id(connection.connection)})


urlpatterns = [
    path("", plain),
    path("echo", echo),
    path("post", post_values),
    path("ignore", ignore),
    path("read", read),
    path("visits", count_visits),
    path("form", form),
    path("upload", upload),
    path("download", download),
    path("temporary", temporary),
    path("stream", stream),
    path("stream-async", stream_async),
    path("async", view_async),
    path("fail", fail),
    path("fail-in-stream", fail_in_stream),
    path("missing", missing),
    path("empty", empty),
    path("unchanged", unchanged),
    path("users", users),
    path("ask-itself", ask_itself),
    path("environ", environ),
    path("thread", thread),
]
