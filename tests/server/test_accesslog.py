"""The access log: its two formats, what clients cannot do to it, and its file."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server.accesslog import AccessLog, combined_line, json_line

from .processes import Serve, eventually, get

Start = Callable[..., Serve]

COMBINED = re.compile(
    r"(?P<remote>\S+) - - \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+) '
    r'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)" (?P<us>\d+)\n'
)


def exchange(**environ: str) -> Any:
    fields = {
        "REMOTE_ADDR": "192.0.2.7",
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/a%20b?q=1",
        "QUERY_STRING": "q=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        **environ,
    }
    return SimpleNamespace(environ=fields, code=200, sent=1234)


def combined(**environ: str) -> str:
    return combined_line(exchange(**environ), 1_700_000_000.5, 1_000_000, 2_500_000, None).decode()


def as_json(**environ: str) -> dict[str, Any]:
    line = json_line(exchange(**environ), 1_700_000_000.25, 1_000_000, 2_500_000, None)
    entry: dict[str, Any] = json.loads(line)
    assert line.count(b"\n") == 1
    return entry


class TestFormats:
    def test_combined_is_apaches_with_the_time_behind_it(self) -> None:
        found = COMBINED.fullmatch(combined(HTTP_USER_AGENT="curl/8"))
        assert found is not None
        assert (found["remote"], found["status"], found["bytes"], found["us"]) == ("192.0.2.7", "200", "1234", "2500")
        assert (found["request"], found["referer"], found["agent"]) == ("GET /a%20b?q=1 HTTP/1.1", "-", "curl/8")

    def test_unix_peers_are_a_dash(self) -> None:
        assert combined(REMOTE_ADDR="").startswith("- - - [")

    def test_json_keeps_path_and_query_apart(self) -> None:
        entry = as_json(HTTP_REFERER="http://a/")
        assert entry == {
            "time": "2023-11-14T22:13:20.250Z",
            "remote": "192.0.2.7",
            "method": "GET",
            "path": "/a%20b",
            "query": "q=1",
            "protocol": "HTTP/1.1",
            "status": 200,
            "bytes": 1234,
            "queue_ms": 1.0,
            "service_ms": 2.5,
            "referer": "http://a/",
            "user_agent": "",
            "pid": os.getpid(),
        }

    @given(st.text(), st.text(), st.text())
    def test_no_client_can_forge_a_line(self, uri: str, referer: str, agent: str) -> None:
        line = combined(RAW_URI=f"/{uri}", HTTP_REFERER=referer, HTTP_USER_AGENT=agent)
        assert COMBINED.fullmatch(line), line
        assert line.count("\n") == 1
        assert line.isascii()
        assert line[:-1].isprintable()
        entry = as_json(RAW_URI=f"/{uri}", HTTP_REFERER=referer, HTTP_USER_AGENT=agent)
        assert (entry["referer"], entry["user_agent"]) == (referer, agent)


class TestFile:
    def test_lines_of_many_threads_do_not_mix(self, tmp_path: Path) -> None:
        log = AccessLog("json", str(tmp_path / "log"))

        def write(number: int) -> None:
            for _ in range(200):
                log(exchange(HTTP_USER_AGENT=str(number) * 1000), None, 0, 0)  # type: ignore[arg-type]

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            log.reopen()
        for thread in threads:
            thread.join()
        lines = (tmp_path / "log").read_text().splitlines()
        assert len(lines) == 800
        assert {json.loads(line)["user_agent"] for line in lines} == {str(n) * 1000 for n in range(4)}

    def test_a_line_for_a_pipe_fits_into_one_piece(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "log")
        reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
        try:
            log = AccessLog("combined", str(tmp_path / "log"))
            log(exchange(HTTP_USER_AGENT="x" * 9000), None, 0, 0)  # type: ignore[arg-type]
            line = os.read(reader, 65_536)
        finally:
            os.close(reader)
        assert len(line) <= select.PIPE_BUF
        assert COMBINED.fullmatch(line.decode())

    def test_write_that_fails_is_told_once_and_harms_no_request(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = AccessLog("combined", "/dev/full")
        for _ in range(3):
            log(exchange(), None, 0, 0)  # type: ignore[arg-type]
        assert [record.message for record in caplog.records] == [
            "The access log cannot be written: [Errno 28] No space left on device"
        ]

    def test_file_that_cannot_be_opened_is_told_once_and_opened_later(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "removed"
        log = AccessLog("combined", str(folder / "log"))
        for _ in range(3):
            log(exchange(), None, 0, 0)  # type: ignore[arg-type]
        (record,) = caplog.records
        assert f"No such file or directory: '{folder}/log'" in record.message
        assert "USR1" in record.message
        folder.mkdir()
        log.reopen()
        log(exchange(), None, 0, 0)  # type: ignore[arg-type]
        assert COMBINED.fullmatch((folder / "log").read_text())

    def test_file_that_cannot_be_opened_again_is_kept(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "logs").mkdir()
        log = AccessLog("combined", str(tmp_path / "logs" / "log"))
        (tmp_path / "logs").rename(tmp_path / "moved")
        log.reopen()
        log(exchange(), None, 0, 0)  # type: ignore[arg-type]
        assert (tmp_path / "moved" / "log").read_text().count("\n") == 1
        assert "goes on in the old file" in caplog.text


@pytest.mark.parametrize("style", ["combined", "json"])
def test_served_requests_are_logged_and_usr1_opens_a_new_file(serve: Start, project: Path, style: str) -> None:
    log = project / "access.log"
    server = serve("--access-log", style, "--access-log-file", str(log))
    port = server.wait_until_it_serves()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request("GET", "/?q=1", headers={"User-Agent": 'a" 200 "\\'})
        length = len(client.getresponse().read())
    get(port, "/-/live")
    eventually(lambda: log.read_text().endswith("\n"), "a line is written")
    line = log.read_text()
    if style == "json":
        entry = json.loads(line)
        assert (entry["path"], entry["query"], entry["status"], entry["user_agent"]) == ("/", "q=1", 200, 'a" 200 "\\')
        assert entry["bytes"] > length
    else:
        found = COMBINED.fullmatch(line)
        assert found is not None
        assert (found["request"], found["agent"]) == ("GET /?q=1 HTTP/1.1", r"a\" 200 \"\\")
    log.rename(project / "access.log.1")
    server.signal(signal.SIGUSR1)
    eventually(lambda: (get(port), log.exists() and log.read_text() != "")[1], "a new file is written")


def test_worker_whose_log_cannot_be_opened_serves_without(serve: Start, project: Path) -> None:
    (project / "logs").mkdir()
    server = serve("--access-log", "combined", "--access-log-file", "logs/access")
    port = server.wait_until_it_serves()
    get(port, "/")
    (project / "logs" / "access").unlink()
    (project / "logs").rmdir()
    server.process.send_signal(signal.SIGHUP)
    server.says("The access log cannot be opened, and requests are served without")
    assert get(port, "/")[0] == 200
    assert "Traceback" not in server.text
    (project / "logs").mkdir()

    def written() -> bool:
        # The worker before, which is about to go, may have got the first one alone.
        server.process.send_signal(signal.SIGUSR1)
        get(port, "/")
        return (project / "logs" / "access").exists() and bool((project / "logs" / "access").read_text())

    eventually(written, "it is opened again")


def test_standard_output_is_the_default(serve: Start) -> None:
    server = serve("--access-log", "combined")
    get(server.wait_until_it_serves(), "/?here")
    server.says('"GET /?here HTTP/1.1" 200')


def test_standard_output_has_the_lines_of_the_log_alone(serve: Start, project: Path) -> None:
    """`serve --access-log json | jq` stopped at the first line of the summary."""
    output = project / "output"
    arguments = ("manage.py", "serve", "127.0.0.1:0", "--access-log", "json")
    server = serve(command=["sh", "-c", 'exec "$@" > output', "sh", sys.executable, *arguments])
    get(server.wait_until_it_serves(), "/?here")
    eventually(lambda: output.read_text().endswith("\n"), "a line is written")
    assert [json.loads(line)["query"] for line in output.read_text().splitlines()] == ["here"]
