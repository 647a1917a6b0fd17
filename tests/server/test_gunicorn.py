"""The worker under plain gunicorn: its options, hooks and access log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from django_wsgiperf import conf
from django_wsgiperf.conf import ConfigurationError, ServerSettings
from django_wsgiperf.server.gunicorn_options import proxy_trust, settings_from

from .processes import DEADLINE_S, Load, Serve, accepts, amend, eventually, get, stats, workers

Start = Callable[..., Serve]
TLS = Path(__file__).parent / "tls"
LISTENING = r"Listening at: https?://127\.0\.0\.1:(\d+)"


@pytest.fixture
def gunicorn(serve: Start) -> Start:
    """Start gunicorn with our worker and more arguments."""

    def start(*arguments: str, **options: Any) -> Serve:
        worker = ["-k", "django_wsgiperf.server.worker.PooledWorker", "-b", "127.0.0.1:0", "--no-control-socket"]
        command = [sys.executable, "-m", "gunicorn", *worker, *arguments, "site_wsgi"]
        return serve(command=command, DJANGO_SETTINGS_MODULE="site_settings", **options)

    return start


def settings(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str] | None = None, **given: Any) -> ServerSettings:
    for name in os.environ:
        if name.startswith("WSGIPERF_"):
            monkeypatch.delenv(name)
    for name, value in (environ or {}).items():
        monkeypatch.setenv(name, value)
    cfg = Config()
    for name, value in given.items():
        cfg.set(name, value)
    return settings_from(cfg)


@pytest.fixture(autouse=True)
def _only_workers_adopt() -> Iterator[None]:
    yield
    conf.forget()


class TestOptions:
    def test_the_process_sees_what_gunicorn_was_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert conf.serving_threads() is None
        settings(monkeypatch, threads=12)
        assert (conf.serving_threads(), conf.server_settings().threads) == (12, 12)

    def test_gunicorns_values_are_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = settings(
            monkeypatch,
            threads=12,
            workers=3,
            keepalive=7,
            timeout=40,
            graceful_timeout=9,
            max_requests=1000,
            max_requests_jitter=50,
            worker_connections=77,
            backlog=99,
            limit_request_line=1000,
            limit_request_fields=20,
        )
        assert (values.threads, values.workers, values.keepalive_s, values.worker_timeout_s) == (12, 3, 7.0, 40.0)
        assert (values.graceful_timeout_s, values.max_requests, values.max_requests_jitter) == (9.0, 1000, 50)
        assert (values.max_connections, values.backlog, values.target_bytes, values.head_fields) == (77, 99, 1000, 20)

    def test_gunicorns_defaults_count_where_wsgiperf_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = settings(monkeypatch, environ={"WSGIPERF_KEEPALIVE_S": "75"})
        assert values.threads == 1, "an application may not be ready for more"
        assert values.keepalive_s == 75
        assert values.queue_length == ServerSettings().queue_length

    def test_given_option_beats_wsgiperf(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings(monkeypatch, environ={"WSGIPERF_THREADS": "4"}, threads=6).threads == 6

    def test_unlimited_request_line_is_the_longest_there_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings(monkeypatch, limit_request_line=0).target_bytes == 65_535

    @pytest.mark.parametrize(
        ("allowed", "trusted"),
        [
            ("10.0.0.1,192.168.0.0/16", ("10.0.0.1", "192.168.0.0/16", "unix")),
            ("*", ("0.0.0.0/0", "::/0", "unix")),
        ],
    )
    def test_forwarded_allow_ips_are_trusted_proxies(
        self, monkeypatch: pytest.MonkeyPatch, allowed: str, trusted: tuple[str, ...]
    ) -> None:
        assert settings(monkeypatch, forwarded_allow_ips=allowed).trusted_proxies == trusted
        assert settings(monkeypatch).trusted_proxies == ()

    def test_proxy_protocol_comes_with_those_who_may_speak_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = settings(monkeypatch, proxy_protocol="v2", proxy_allow_ips="10.0.0.1")
        assert values.proxy_protocol
        assert values.trusted_proxies == ("10.0.0.1", "unix")
        assert settings(monkeypatch, proxy_allow_ips="10.0.0.1").trusted_proxies == ()

    def test_proxy_protocol_alone_is_gunicorns_own_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings(monkeypatch, proxy_protocol="auto").trusted_proxies == ("127.0.0.1", "::1", "unix")
        listed = settings(monkeypatch, {"WSGIPERF_TRUSTED_PROXIES": "10.0.0.1"}, proxy_protocol="auto")
        assert listed.trusted_proxies == ("10.0.0.1",)

    def test_addresses_that_are_written_count_even_if_they_are_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trusted = ("127.0.0.1", "::1", "unix")
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "--forwarded-allow-ips='127.0.0.1,::1' --threads 4")
        assert settings(monkeypatch).trusted_proxies == trusted
        monkeypatch.delenv("GUNICORN_CMD_ARGS")
        monkeypatch.setattr(sys, "argv", ["gunicorn", "--forwarded-allow-ips", "127.0.0.1,::1", "site_wsgi"])
        assert settings(monkeypatch).trusted_proxies == trusted
        monkeypatch.setattr(sys, "argv", ["gunicorn", "site_wsgi"])
        assert settings(monkeypatch).trusted_proxies == ()

    @pytest.mark.parametrize(
        ("protocol", "given", "opening", "believed"),
        [
            ("off", {}, [], []),
            ("off", {"forwarded_allow_ips": "10.0.0.1"}, [], ["10.0.0.1"]),
            ("auto", {}, ["127.0.0.1"], ["127.0.0.1"]),
            ("auto", {"forwarded_allow_ips": "10.0.0.1"}, ["127.0.0.1"], ["10.0.0.1"]),
            ("auto", {"proxy_allow_ips": "10.0.0.2"}, ["10.0.0.2"], ["10.0.0.2"]),
            ("v2", {"proxy_allow_ips": "10.0.0.2", "forwarded_allow_ips": "10.0.0.1"}, ["10.0.0.2"], ["10.0.0.1"]),
        ],
    )
    def test_who_may_open_and_who_may_forward(
        self,
        monkeypatch: pytest.MonkeyPatch,
        protocol: str,
        given: dict[str, str],
        opening: list[str],
        believed: list[str],
    ) -> None:
        cfg = Config()
        for name, value in {"proxy_protocol": protocol, **given}.items():
            cfg.set(name, value)
        trust = proxy_trust(cfg, settings(monkeypatch, proxy_protocol=protocol, **given))
        asked = ["127.0.0.1", "10.0.0.1", "10.0.0.2"]
        assert (trust is None) == (not believed)
        if trust is not None:
            assert [address for address in asked if address in trust.opening] == opening
            assert [address for address in asked if address in trust.trusted] == believed
            assert trust.versions == ((2,) if protocol == "v2" else (1, 2))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit_request_field_size", 100),
            ("secure_scheme_headers", {"X-SSL": "on"}),
            ("forwarder_headers", "REMOTE_USER"),
        ],
    )
    def test_option_that_is_not_used_is_told(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: Any
    ) -> None:
        settings(monkeypatch, **{name: value})
        assert [message.partition(":")[0] for message in caplog.messages] == [f"{name} is not used"]

    def test_value_that_is_out_of_range_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match="THREADS"):
            settings(monkeypatch, threads=5000)


class TestServing:
    def test_serves_with_its_options(self, gunicorn: Start) -> None:
        server = gunicorn("--threads", "3", "--workers", "2", "--preload", "--limit-request-line", "200")
        port = server.wait_until_it_serves(LISTENING)
        eventually(lambda: get(port)[0] == 200, "a page")
        assert stats(port)["threads"] == 3
        assert get(port, "/" + "x" * 300)[0] == 414
        eventually(lambda: get(port, "/-/ready") == (200, "ready\n"), "and the checks have been made")

    def test_hup_and_max_requests_lose_no_request(self, gunicorn: Start) -> None:
        server = gunicorn("--threads", "4", "--workers", "2", "--max-requests", "300", "--max-requests-jitter", "100")
        port = server.wait_until_it_serves(LISTENING)
        eventually(lambda: len(workers(port)) == 2, "both workers are there")
        with Load(port) as load:
            load.more(20)
            before = workers(port)
            server.signal(signal.SIGHUP)
            eventually(lambda: len(workers(port) - before) == 2, "two new workers are there")
            eventually(lambda: len(load.pids) >= 5, "a worker was recycled")
        assert load.failures == []

    def test_term_lets_running_requests_end(self, gunicorn: Start, project: Path) -> None:
        server = gunicorn("--threads", "2")
        port = server.wait_until_it_serves(LISTENING)
        (project / "busy").touch()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as client:
            client.request("GET", "/?while=busy")
            eventually(lambda: stats(port)["busy"] == 1, "it runs")
            server.signal(signal.SIGTERM)
            eventually(lambda: not accepts(port), "it takes no new connection")
            (project / "busy").unlink()
            assert client.getresponse().status == 200
        assert server.wait() == 0

    def test_tls(self, gunicorn: Start) -> None:
        server = gunicorn("--certfile", str(TLS / "certificate.pem"), "--keyfile", str(TLS / "key.pem"))
        port = server.wait_until_it_serves(LISTENING)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)) as client:
            client.connect()
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.selected_alpn_protocol() == "http/1.1"
            client.request("GET", "/")
            assert client.getresponse().status == 200

    def test_bad_configuration_ends_it_with_its_message(self, gunicorn: Start) -> None:
        server = gunicorn(WSGIPERF_QUEUE_LENGTH="-1")
        assert server.wait() == 3
        assert "QUEUE_LENGTH" in server.text
        assert "environment (WSGIPERF_QUEUE_LENGTH)" in server.text
        assert "Traceback" not in server.text


class TestHooksAndLog:
    def test_hooks_are_called(self, gunicorn: Start, project: Path) -> None:
        (project / "gunicorn.conf.py").write_text("""
def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")
def pre_fork(server, worker):
    note("pre_fork")
def post_fork(server, worker):
    note("post_fork")
def post_worker_init(worker):
    note("post_worker_init")
def pre_request(worker, request):
    note(f"pre_request {request.method} {request.path} {request.query} {dict(request.headers)['X-TEST']}")
def post_request(worker, request, environ, response):
    note(f"post_request {environ['PATH_INFO']} {response.status} {response.sent > 0}")
def worker_int(worker):
    note("worker_int")
def worker_exit(server, worker):
    note("worker_exit")
def child_exit(server, worker):
    note("child_exit")
""")
        server = gunicorn()
        port = server.wait_until_it_serves(LISTENING)
        assert get(port, "/?a=b", **{"X-Test": "yes"})[0] == 200
        notes = project / "notes"
        eventually(lambda: "post_request" in notes.read_text(), "the request is over")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert notes.read_text().splitlines() == [
            "pre_fork",
            "post_fork",
            "post_worker_init",
            "pre_request GET / a=b yes",
            "post_request / 200 OK True",
            "worker_int",
            "worker_exit",
            "child_exit",
        ]

    def test_access_log_has_gunicorns_format(self, gunicorn: Start, project: Path) -> None:
        log = project / "access.log"
        server = gunicorn(
            "--access-logfile", str(log), "--access-logformat", "%(h)s %(m)s %(U)s %(q)s %(s)s %(a)s %({server}o)s"
        )
        port = server.wait_until_it_serves(LISTENING)
        get(port, "/?a=b", **{"User-Agent": "tester"})
        eventually(lambda: log.read_text() != "", "a line is written")
        assert log.read_text() == "127.0.0.1 GET / a=b 200 tester -\n"
        log.rename(project / "access.log.1")
        server.signal(signal.SIGUSR1)
        eventually(lambda: (get(port), log.exists() and log.read_text() != "")[1], "a new file is written")

    def test_wsgiperfs_own_log_is_there_too(self, gunicorn: Start) -> None:
        server = gunicorn(WSGIPERF_ACCESS_LOG="json")
        get(server.wait_until_it_serves(LISTENING), "/?here")
        server.says('"query": "here"')
        line = next(line for line in server.output if "here" in line)
        assert json.loads(line)["status"] == 200

    def test_statsd_counts_requests(self, gunicorn: Start) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as statsd:
            statsd.bind(("127.0.0.1", 0))
            statsd.settimeout(20)
            server = gunicorn("--statsd-host", f"127.0.0.1:{statsd.getsockname()[1]}")
            get(server.wait_until_it_serves(LISTENING))
            while not statsd.recv(1000).startswith(b"gunicorn.requests:1"):
                pass


def test_connections_opened_while_loading_are_closed_before_the_fork(
    gunicorn: Start, project: Path, postgres_url: str
) -> None:
    import dj_database_url

    amend(
        project / "site_settings.py",
        "WSGIPERF =",
        f"DATABASES = {{'default': {dict(dj_database_url.parse(postgres_url))!r}}}\nWSGIPERF =",
    )
    amend(
        project / "site_wsgi.py",
        "application =",
        "import django\ndjango.setup()\nfrom django.db import connection\nconnection.ensure_connection()\n"
        "application =",
    )
    amend(
        project / "site_urls.py",
        "def pid(request):",
        "def pid(request):\n    from django.db import connection\n    with connection.cursor() as cursor:\n"
        "        cursor.execute('SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()')\n"
        "        return HttpResponse(cursor.fetchone()[0])\ndef old(request):",
    )
    port = gunicorn("--preload", WSGIPERF_READY_CHECKS="").wait_until_it_serves(LISTENING)
    # The database may take a moment to let go of one that has been closed.
    eventually(lambda: get(port) == (200, "1"), "there is this request's own")
