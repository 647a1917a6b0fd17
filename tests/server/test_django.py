"""A Django site under the server, as its users and Django's own live server tests meet it.

Each test runs with wsgiref.validate around the site, and without.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import urllib.parse
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import connection
from django.test import override_settings

from . import django_site
from .conftest import DEADLINE_S, Client, eventually
from .django_site import counts
from .live import LiveSite, PooledServer, PooledServerThread

FOLDER = Path(__file__).parent
#: Pages that can be asked with GET and HEAD. The last two have no body at all.
PAGES = [
    "/",
    "/echo",
    "/visits",
    "/form",
    "/download",
    "/temporary",
    "/stream",
    "/stream-async",
    "/async",
    "/fail",
    "/missing",
    "/users",
    "/environ",
    "/static/tls/certificate.pem",
    "/media/tls/key.pem",
    "/empty",
    "/unchanged",
]
MULTIPART = "multipart/form-data; boundary=frontier"


def part(name: str, data: bytes, filename: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    return f'--frontier\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
@override_settings(
    ROOT_URLCONF="tests.server.django_site",
    INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    STATIC_URL="/static/",
    STATIC_ROOT=FOLDER,
    MEDIA_URL="/media/",
    MEDIA_ROOT=FOLDER,
    ALLOWED_HOSTS=["*"],
)
class TestSite(LiveSite):
    def setUp(self) -> None:
        # A request may end after its client has all of the answer.
        eventually(lambda: not any(slot.task for slot in self.server.pool.slots), "those of the test before have ended")
        counts.clear()
        for signal, receiver in (
            (request_started, django_site.count_started),
            (request_finished, django_site.count_finished),
        ):
            signal.connect(receiver)
            self.addCleanup(signal.disconnect, receiver)
        self.client_ = http.client.HTTPConnection(self.server_thread.host, self.server_thread.port, timeout=DEADLINE_S)
        self.addCleanup(self.client_.close)
        self.cookies: SimpleCookie = SimpleCookie()

    @property
    def server(self) -> PooledServer:
        server: PooledServer = self.server_thread.httpd
        return server

    def ask(
        self, path: str, body: Any = None, method: str = "", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on the test's one connection, with its cookies; the response and its body."""
        method = method or ("GET" if body is None else "POST")
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.client_.request(method, path, body=body, headers=fields, encode_chunked="Transfer-Encoding" in fields)
        response = self.client_.getresponse()
        data = response.read()
        for cookie in response.headers.get_all("Set-Cookie", []):
            self.cookies.load(cookie)
        return response, data

    def raw(self, data: bytes) -> Client:
        client = Client(self.server_thread.port)
        self.addCleanup(client.close)
        client.send(data)
        return client

    # -- what Django's own tests of its live server ask

    def test_protocol_is_http11_and_the_connection_is_kept(self) -> None:
        first, _ = self.ask("/")
        sock = self.client_.sock
        second, data = self.ask("/")
        assert (first.version, second.status, data) == (11, 200, b"plain")
        assert self.client_.sock is sock is not None

    def test_environ_is_that_of_the_request(self) -> None:
        values = json.loads(self.ask("/environ?q=%E2%82%AC", Accept="text/x-odd")[1])
        assert values["QUERY_STRING"] == "q=%E2%82%AC"
        assert values["HTTP_ACCEPT"] == "text/x-odd"
        assert (values["REQUEST_METHOD"], values["PATH_INFO"], values["SCRIPT_NAME"]) == ("GET", "/environ", "")
        assert values["SERVER_PORT"] == str(self.server_thread.port)
        assert values["REMOTE_ADDR"] == "127.0.0.1"

    def test_static_and_media_files_are_served_and_nothing_else(self) -> None:
        for prefix in ("/static/", "/media/"):
            response, data = self.ask(f"{prefix}tls/certificate.pem")
            assert (response.status, data) == (200, (FOLDER / "tls/certificate.pem").read_bytes())
            assert self.ask(f"{prefix}nothing.css")[0].status == 404
            for outside in ("../settings.py", "%2e%2e/settings.py"):
                response, data = self.ask(f"{prefix}{outside}")
                assert response.status in (404, 500), "Django lets SuspiciousFileOperation through to the server"
                assert b"SECRET_KEY" not in data

    def test_static_file_that_has_not_changed_is_not_sent_again(self) -> None:
        modified = self.ask("/static/tls/key.pem")[0].headers["Last-Modified"]
        response, data = self.ask("/static/tls/key.pem", If_Modified_Since=modified)
        assert (response.status, data) == (304, b"")
        assert self.ask("/")[1] == b"plain", "the connection is in step"

    def test_missing_page_is_404(self) -> None:
        assert [self.ask(path)[0].status for path in ("/missing", "/nowhere")] == [404, 404]

    def test_view_may_ask_another_of_the_same_server(self) -> None:
        assert self.ask("/ask-itself")[1] == b"1"

    def test_rows_are_seen_by_site_and_test(self) -> None:
        User.objects.create(username="jane")
        assert json.loads(self.ask("/users?create=emily")[1])["users"] == ["emily", "jane"]
        assert User.objects.filter(username="emily").exists()

    def test_second_request_on_a_connection_sees_nothing_of_the_first(self) -> None:
        first = json.loads(self.ask("/post", b"a=1&b=2", Content_Type="application/x-www-form-urlencoded")[1])
        second = json.loads(self.ask("/post", b"c=3", Content_Type="application/x-www-form-urlencoded")[1])
        assert (first, second) == ({"a": "1", "b": "2"}, {"c": "3"})

    # -- forms, sessions, uploads

    def test_session_lasts(self) -> None:
        assert [self.ask("/visits")[1] for _ in range(3)] == [b"1", b"2", b"3"]

    def test_form_with_its_token_is_taken_and_without_refused(self) -> None:
        token = self.ask("/form")[1].decode()
        body = urllib.parse.urlencode({"name": "Zoë", "csrfmiddlewaretoken": token})
        kind = "application/x-www-form-urlencoded"
        assert self.ask("/form", body, Content_Type=kind)[1].decode() == "thanks, Zoë"
        assert self.ask("/form", "name=x", Content_Type=kind)[0].status == 403

    def test_form_in_chunks_has_its_token_too(self) -> None:
        """Django reads no body without CONTENT_LENGTH: elsewhere such a form fails with 403 (ticket 35838)."""
        token = self.ask("/form")[1].decode()
        body = urllib.parse.urlencode({"name": "Zoë", "csrfmiddlewaretoken": token}).encode()
        headers = {"Content_Type": "application/x-www-form-urlencoded", "Transfer_Encoding": "chunked"}
        response, data = self.ask("/form", iter([body[:9], body[9:]]), **headers)
        assert (response.status, data.decode()) == (200, "thanks, Zoë")

    def test_body_in_chunks_reaches_django_with_its_length(self) -> None:
        body = bytes(range(256)) * 4000
        client = self.raw(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 9999))
        response = client.response()
        assert response.body == body
        assert response.headers["x-length"] == str(len(body))

    def test_body_is_read_in_every_way(self) -> None:
        body = b"a line\nanother\n\nno end"
        for by in ("read", "pieces", "readline", "readlines", "iteration"):
            assert self.ask(f"/read?by={by}", body)[1] == body, by

    def test_uploads_in_memory_and_in_files(self) -> None:
        small, large = b"small" * 10, b"large" * 700_000
        for data, in_file in ((small, False), (large, True)):
            body = part("field", b"value") + part("it", data, "it.bin") + b"--frontier--\r\n"
            for sent, headers in ((body, {}), (iter([body]), {"Transfer_Encoding": "chunked"})):
                told = json.loads(self.ask("/upload", sent, Content_Type=MULTIPART, **headers)[1])
                assert told["fields"] == {"field": "value"}
                assert told["files"] == {"it": ["it.bin", len(data), sum(data), in_file]}
        assert len(counts.files) == 2
        eventually(lambda: not any(Path(name).exists() for name in counts.files), "the temporary files are removed")

    def test_bodies_that_no_view_reads_do_not_stand_in_the_way(self) -> None:
        for size in (10, 3_000_000):
            assert self.ask("/ignore", b"x" * size)[1] == b"ignored"
            assert self.ask("/nowhere", b"x" * size)[0].status == 404
        assert self.ask("/")[1] == b"plain"
        client = self.raw(
            b"POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"GET / ", 2)
        )
        assert client.response().body == b"ignored"
        assert client.get("/").body == b"plain"

    # -- responses

    def test_downloads_and_temporary_files(self) -> None:
        response, data = self.ask("/download", Range="bytes=0-9")
        assert (response.status, data) == (200, django_site.THIS_FILE.read_bytes()), "Django knows no ranges"
        assert response.headers["Content-Disposition"] == 'attachment; filename="django_site.py"'
        assert response.headers["Content-Length"] == str(len(data))
        assert self.ask("/temporary")[1] == b"temporary" * 100_000
        eventually(lambda: not any(Path(name).exists() for name in counts.files), "the temporary file is removed")

    def test_streams_of_both_kinds(self) -> None:
        expected = b"".join(b"%d\n" % number for number in range(100))
        for path in ("/stream", "/stream-async"):
            response, data = self.ask(path)
            assert data == expected
            assert response.headers["Transfer-Encoding"] == "chunked"

    def test_views_that_are_coroutines(self) -> None:
        assert [self.ask("/async")[1] for _ in range(3)] == [b"async"] * 3

    def test_head_of_everything_is_the_head_alone(self) -> None:
        for path in PAGES:
            got, body = self.ask(path)
            head, nothing = self.ask(path, method="HEAD")
            assert nothing == b"", path
            assert head.status == got.status, path
            if "Content-Length" in head.headers and path not in ("/environ", "/visits", "/form"):
                assert head.headers["Content-Length"] == str(len(body)), path
            assert self.ask("/")[1] == b"plain", f"the connection is in step after HEAD {path}"

    def test_every_method_reaches_the_view(self) -> None:
        # The validator does not know WebDAV.
        for method in ("OPTIONS", "PUT", "PATCH", "DELETE", *(() if self.server.validate else ("PROPFIND",))):
            assert self.ask("/echo", b"x", method=method)[1] == b"x", method

    # -- signals and errors

    def test_each_request_starts_ends_and_is_closed_once(self) -> None:
        pages = {"/": 1, "/stream": 1, "/stream-async": 1, "/download": 1, "/temporary": 1}
        for path in pages:
            self.ask(path)
            self.ask(path, method="HEAD")
        eventually(lambda: all(counts.of("finished", path) == 2 for path in pages), "each has ended")
        for path in pages:
            assert [counts.of(kind, path) for kind in ("started", "finished", "closed")] == [2, 2, 2], path

    def test_request_whose_client_left_ends_too(self) -> None:
        client = self.raw(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.sock.recv(15) == b"HTTP/1.1 200 OK"
        client.close()
        eventually(lambda: counts.of("finished", "/stream") == 1, "it has ended")
        assert counts.of("closed", "/stream") == 1

    def test_view_that_fails_is_500_without_details(self) -> None:
        response, data = self.ask("/fail")
        assert response.status == 500
        assert b"a view that fails" not in data
        assert self.ask("/")[1] == b"plain"
        eventually(lambda: counts.of("finished", "/fail") == 1, "it has ended")

    @override_settings(DEBUG=True)
    def test_view_that_fails_shows_where_under_debug(self) -> None:
        response, data = self.ask("/fail")
        assert response.status == 500
        assert re.search(rb"a view that fails", data)
        assert b"ValueError" in data
        assert b"django_site.py" in data

    def test_stream_that_fails_is_not_taken_for_whole(self) -> None:
        with pytest.raises(http.client.IncompleteRead):
            self.ask("/fail-in-stream")
        eventually(lambda: counts.of("finished", "/fail-in-stream") == 1, "it has ended")
        assert counts.of("closed", "/fail-in-stream") == 1

    # -- threads

    def test_many_at_once(self) -> None:
        answers: list[bytes] = []

        def visit() -> None:
            client = Client(self.server_thread.port)
            answers.extend(client.get(path).body for path in ("/", "/stream", "/async", "/users") * 5)
            client.close()

        threads = [threading.Thread(target=visit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 8 * 20
        assert answers.count(b"plain") == answers.count(b"async") == 40

    def test_threads_of_the_pool_run_the_views(self) -> None:
        assert json.loads(self.ask("/thread")[1])["thread"].startswith("wsgiperf-")
        assert connection.vendor == "sqlite"


class BareServer(PooledServer):
    validate = False


class BareServerThread(PooledServerThread):
    server_class = BareServer


class TestSiteWithoutValidation(TestSite):
    """Nothing between Django and the server: FileResponse goes by the kernel, lists in one piece."""

    server_thread_class = BareServerThread
