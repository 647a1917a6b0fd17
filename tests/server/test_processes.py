"""The processes of `manage.py serve`: signals, replacement, draining, and what happens to requests meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Client
from .processes import Load, Serve, accepts, amend, eventually, get, is_running, serving, stats, workers

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
Start = Callable[..., Serve]


def busy_workers(port: int) -> int:
    return sum(row["busy"] for row in stats(port)["workers"])


def read_some(client: socket.socket) -> bytes:
    """What comes next; nothing when the server has closed, in whichever way."""
    try:
        return client.recv(65_536)
    except ConnectionResetError:
        return b""


class Answer:
    """A request that runs beside the test."""

    def __init__(self, port: int, path: str) -> None:
        self.status = 0
        self.text = ""
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._ask, args=(port, path))
        self._thread.start()

    def _ask(self, port: int, path: str) -> None:
        try:
            self.status, self.text = get(port, path)
        except (OSError, http.client.HTTPException) as error:
            self.error = error

    def join(self) -> Answer:
        self._thread.join()
        return self


class TestStopping:
    def test_int_stops_at_once_and_calls_no_request_back(self, serve: Start, project: Path) -> None:
        server = serve()
        port = server.wait_until_it_serves()
        (project / "busy").touch()
        slow = Answer(port, "/?while=busy")
        eventually(lambda: busy_workers(port) == 1, "the request runs")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert slow.join().error is not None
        assert "Traceback" not in server.text

    def test_quit_stops_at_once(self, serve: Start) -> None:
        server = serve("--workers", "2")
        server.wait_until_it_serves()
        server.signal(signal.SIGQUIT)
        assert server.wait() == 0

    def test_more_signals_do_not_hold_up_the_end(self, serve: Start) -> None:
        """A terminal's Ctrl-C goes to the workers, too, and the master tells them a moment later."""
        server = serve("--workers", "2")
        port = server.wait_until_it_serves()
        pids = serving(port, 2)
        server.signal(signal.SIGINT)
        while server.process.poll() is None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
                    os.kill(pid, signal.SIGINT)
        assert server.wait() == 0
        assert "SIGKILL" not in server.text
        assert "Traceback" not in server.text

    def test_term_lets_running_requests_and_streams_end(self, serve: Start, project: Path) -> None:
        server = serve("--workers", "2")
        port = server.wait_until_it_serves()
        (project / "busy").touch()
        answers = [Answer(port, "/?while=busy"), Answer(port, "/stream?pieces=20&while=busy")]
        eventually(lambda: busy_workers(port) == 2, "both run")
        server.signal(signal.SIGTERM)
        eventually(lambda: not accepts(port), "it takes no new connection")
        (project / "busy").unlink()
        assert [answer.join().status for answer in answers] == [200, 200]
        assert answers[1].text.split() == [str(n) for n in range(20)]
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            get(port)

    def test_term_waits_for_a_slow_reader_but_not_for_ever(self, serve: Start) -> None:
        server = serve("--graceful-timeout", "1s")
        port = server.wait_until_it_serves()
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", port))
            reader.sendall(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n")
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        assert "1 responses on their way" in server.text

    def test_request_that_outlasts_the_graceful_timeout_is_cut_off(self, serve: Start) -> None:
        server = serve("--graceful-timeout", "1s")
        port = server.wait_until_it_serves()
        slow = Answer(port, "/busy?for=30")
        eventually(lambda: busy_workers(port) == 1, "the request runs")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert slow.join().error is not None
        assert "1 running requests" in server.text

    def test_streams_without_an_end_are_cut_off_after_the_graceful_timeout(self, serve: Start) -> None:
        """One goes on yielding, one is silent, and of one the client is gone."""
        server = serve("--graceful-timeout", "1s")
        port = server.wait_until_it_serves()
        with contextlib.ExitStack() as stack:
            clients = []
            for path in ("/stream?pieces=1000000", "/events", "/events"):
                clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)))
                clients[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                assert clients[-1].recv(15) == b"HTTP/1.1 200 OK"
            clients[2].close()
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            rest = [b"".join(iter(lambda client=client: read_some(client), b"")) for client in clients[:2]]
        assert "3 running requests" in server.text
        assert not any(data.endswith(b"0\r\n\r\n") for data in rest), "no client takes its stream for whole"
        assert b"data: 1\n\n" in rest[1]

    def test_hup_leaves_streams_without_an_end_to_the_old_worker_for_the_graceful_timeout(self, serve: Start) -> None:
        server = serve("--graceful-timeout", "1s")
        port = server.wait_until_it_serves()
        before = serving(port, 1)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            server.signal(signal.SIGHUP)
            eventually(lambda: not any(is_running(pid) for pid in before), "the old worker is gone")
            assert b"data: 1\n\n" in b"".join(iter(lambda: read_some(client), b""))
            assert get(port)[0] == 200, "where the client comes back to"

    def test_idle_and_unborn_connections_do_not_hold_up_the_end(self, serve: Start) -> None:
        server = serve()
        port = server.wait_until_it_serves()
        silent = socket.create_connection(("127.0.0.1", port))
        idle = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        idle.request("GET", "/")
        idle.getresponse().read()
        with silent, contextlib.closing(idle):
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        assert "graceful_timeout" not in server.text

    def test_idle_connection_may_send_one_more_request(self, serve: Start, project: Path) -> None:
        patient = "from django_wsgiperf.server import draining\ndraining._IDLE_LINGER_S = 60.0\napplication ="
        amend(project / "site_wsgi.py", "application =", patient)
        server = serve()
        port = server.wait_until_it_serves()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
            client.request("GET", "/")
            client.getresponse().read()
            server.signal(signal.SIGTERM)
            eventually(lambda: not accepts(port), "it takes no new connection")
            client.request("GET", "/")
            response = client.getresponse()
            assert (response.status, response.getheader("Connection")) == (200, "close")

    def test_connection_that_the_kernel_has_accepted_is_served(self, serve: Start) -> None:
        """While the only thread that could accept is busy in C, connections queue up in the kernel."""
        server = serve("--threads", "1")
        port = server.wait_until_it_serves()
        holder = Answer(port, "/hold?for=1")
        with contextlib.ExitStack() as stack:
            waiting = []
            for _ in range(80):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                waiting.append(client)
            server.signal(signal.SIGTERM)
            assert [client.makefile("rb").readline() for client in waiting] == [b"HTTP/1.1 200 OK\r\n"] * 80
        assert holder.join().status == 200
        assert server.wait() == 0

    def test_drain_delay_gives_the_balancer_time(self, serve: Start) -> None:
        server = serve("--drain-delay", "600s", "--workers", "2")
        port = server.wait_until_it_serves()
        with Load(port, balanced=True) as load:
            load.more(20)
            server.signal(signal.SIGTERM)
            eventually(lambda: load.has_gone, "the balancer has sent everybody away")
            assert accepts(port), "it still takes connections"
        assert load.failures == []

    def test_server_ends_after_the_drain_delay(self, serve: Start) -> None:
        server = serve("--drain-delay", "1s", "--workers", "2")
        server.wait_until_it_serves()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0

    def test_drain_delay_holds_for_unix_sockets(self, serve: Start, project: Path) -> None:
        path = project / "site.sock"
        server = serve("--drain-delay", "600s", address=f"unix:{path}")
        server.wait_until_it_serves(r"unix:")
        server.signal(signal.SIGTERM)

        def ready() -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /-/ready HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                return client.makefile("rb").read()

        eventually(lambda: ready().startswith(b"HTTP/1.1 503") and ready().endswith(b"draining\n"), "it drains")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        assert not path.exists()

    def test_int_cuts_the_drain_delay_short(self, serve: Start) -> None:
        server = serve("--drain-delay", "60s")
        port = server.wait_until_it_serves()
        server.signal(signal.SIGTERM)
        eventually(lambda: get(port, "/-/ready")[0] == 503, "it drains")
        server.signal(signal.SIGINT)
        assert server.wait() == 0

    def test_threads_of_the_application_do_not_hold_up_the_end(self, serve: Start) -> None:
        server = serve()
        get(server.wait_until_it_serves(), "/background")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "does not wait for threads of the application: endless" in server.text

    def test_killed_master_takes_its_workers_along(self, serve: Start) -> None:
        server = serve("--workers", "2")
        port = server.wait_until_it_serves()
        pids = serving(port, 2)
        server.process.kill()
        server.wait()
        eventually(lambda: not any(is_running(pid) for pid in pids), "the workers have gone")


class TestReplacement:
    def test_hup_loses_no_request(self, serve: Start) -> None:
        server = serve("--workers", "2", "--drain-delay", "30s")
        port = server.wait_until_it_serves()
        eventually(lambda: len(workers(port)) == 2, "both workers are there")
        with Load(port, balanced=True) as load:
            load.more(20)
            before = serving(port, 2)
            server.signal(signal.SIGHUP)
            eventually(lambda: len(workers(port) - before) == 2, "two new workers are there")
            eventually(lambda: not any(is_running(pid) for pid in before), "the old ones are gone")
            load.more(50)
            assert not load.has_gone, "the server was ready all the time"
        assert load.failures == []

    def test_hup_closes_no_idle_connection(self, serve: Start) -> None:
        """Whoever closes one may cross a request on its way."""
        server = serve()
        port = server.wait_until_it_serves()
        before = serving(port, 1)
        with Client(port) as kept, Client(port) as silent:
            assert kept.get().status == 200
            server.signal(signal.SIGHUP)
            eventually(lambda: not any(is_running(pid) for pid in before), "the old worker is gone")
            for client in (kept, silent, kept):
                response = client.get()
                assert response.status == 200
                assert "connection" not in response.headers
                assert {int(response.body.split()[1])} == workers(port)

    def test_hup_keeps_the_old_workers_until_the_new_ones_serve(self, serve: Start, project: Path) -> None:
        """The application may refuse to start in a new worker; nobody notices outside."""
        amend(
            project / "site_wsgi.py",
            "application =",
            "import os\nif os.path.exists('broken'):\n    os._exit(1)\n"
            "os.register_at_fork(after_in_child=lambda: os.path.exists('broken') and os._exit(1))\napplication =",
        )
        server = serve()
        port = server.wait_until_it_serves()
        with Load(port) as load:
            load.more(20)
            before = serving(port, 1)
            (project / "broken").touch()
            server.signal(signal.SIGHUP)
            server.says("A worker ended before it served")
            load.more(50)
            assert workers(port) == before
            (project / "broken").unlink()
            eventually(lambda: bool(workers(port) - before), "a new one serves")
            load.more(50)
        assert load.failures == []

    def test_max_requests_replaces_the_worker_before_it_goes(self, serve: Start) -> None:
        server = serve("--max-requests", "50")
        with Load(server.wait_until_it_serves()) as load:
            eventually(lambda: len(load.pids) >= 3, "the third worker answers")
        assert load.failures == []
        assert "(max_requests)" in server.text

    def test_memory_limit_replaces_the_worker(self, serve: Start) -> None:
        server = serve("--max-rss", "120M")
        with Load(server.wait_until_it_serves(), path="/grow") as load:
            eventually(lambda: len(load.pids) >= 2, "the second worker answers")
        assert load.failures == []
        assert "(max_rss_bytes)" in server.text

    def test_lost_threads_replace_the_worker(self, serve: Start) -> None:
        # Long enough for every other request of a busy machine.
        server = serve("--request-timeout", "5s", "--max-lost-threads", "1", "--graceful-timeout", "1s")
        port = server.wait_until_it_serves()
        with Load(port) as load:
            load.more(20)
            before = serving(port, 1)
            stuck = Answer(port, "/busy?for=60")
            assert stuck.join().status == 504
            eventually(lambda: bool(workers(port)) and not workers(port) & before, "another worker serves")
            load.more(20)
        assert load.failures == []
        assert "(max_lost_threads)" in server.text

    def test_killed_worker_is_replaced_and_harms_only_its_own_requests(self, serve: Start) -> None:
        server = serve("--workers", "2")
        port = server.wait_until_it_serves()
        eventually(lambda: len(workers(port)) == 2, "both workers are there")
        with Load(port) as load:
            load.more(20)
            before = serving(port, 2)
            os.kill(min(before), signal.SIGKILL)
            eventually(lambda: bool(workers(port) - before), "another has come")
            load.more(50)
        assert len(load.failures) <= 4, "at most one request in flight a client"

    def test_wedged_worker_is_replaced_and_its_stacks_are_told(self, serve: Start) -> None:
        server = serve("--worker-timeout", "2s")
        port = server.wait_until_it_serves()
        before = serving(port, 1)
        wedged = Answer(port, "/hold?for=60")
        server.says("WORKER TIMEOUT")
        eventually(lambda: bool(workers(port) - before), "another serves")
        assert wedged.join().error is not None
        assert re.search(r'File ".*site_urls.py", line \d+ in hold', server.text)

    def test_worker_whose_sockets_nobody_polls_is_replaced(self, serve: Start, project: Path) -> None:
        """The interpreter runs, and the main thread, too: only the leader is stuck."""
        amend(
            project / "site_wsgi.py",
            "application =",
            """
import os, time
from django_wsgiperf.server.reactor import Reactor
poll = Reactor.poll
def stalling(self):
    while os.path.exists("stall") and os.getpid() == int(open("stall").read()):
        time.sleep(0.01)
    poll(self)
Reactor.poll = stalling
application =""",
        )
        server = serve("--worker-timeout", "2s")
        port = server.wait_until_it_serves()
        [before] = serving(port, 1)
        (project / "stall").write_text(str(before))
        server.says("has polled its sockets")
        server.says("WORKER TIMEOUT")
        eventually(lambda: bool(workers(port) - {before}), "another serves")

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
    def test_signal_for_the_master_ends_no_worker(self, serve: Start, project: Path, number: int) -> None:
        port = serve("--threads", "2").wait_until_it_serves()
        [worker] = serving(port, 1)
        gate = project / "gate"
        gate.touch()
        try:
            answer = Answer(port, "/?while=gate")
            eventually(lambda: busy_workers(port) == 1, "the request runs")
            os.kill(worker, number)
        finally:
            gate.unlink()
        assert (answer.join().status, answer.text) == (200, f"VERSION {worker}")
        assert serving(port, 1) == {worker}

    def test_ttin_and_ttou_change_the_number_of_workers(self, serve: Start) -> None:
        server = serve()
        port = server.wait_until_it_serves()
        server.signal(signal.SIGTTIN)
        eventually(lambda: len(workers(port)) == 2, "two workers")
        with Load(port) as load:
            load.more(20)
            server.signal(signal.SIGTTOU)
            eventually(lambda: len(workers(port)) == 1, "one worker again")
            load.more(20)
        assert load.failures == []


class TestUpgrade:
    def test_usr2_brings_new_code_without_losing_a_request(self, serve: Start, project: Path) -> None:
        pid_file = project / "pid"
        server = serve(WSGIPERF_PID_FILE=str(pid_file))
        port = server.wait_until_it_serves()
        assert int(pid_file.read_text()) == server.pid
        successor = 0
        try:
            with Load(port) as load:
                load.more(10)
                amend(project / "site_urls.py", "VERSION", "CHANGED")
                server.signal(signal.SIGUSR2)
                server.says("too; TERM to the old one ends that")
                successor = int((project / "pid.2").read_text())
                eventually(lambda: get(port)[1].startswith("CHANGED"), "the new code answers")
                server.signal(signal.SIGTERM)
                assert server.wait() == 0
                load.more(20)
                assert get(port)[1].startswith("CHANGED")
            assert load.failures == []
            eventually(lambda: holds(pid_file, successor), "the new master has the pid file")
        finally:
            if successor:
                os.kill(successor, signal.SIGTERM)
                eventually(lambda: not is_running(successor), "the successor has ended")

    def test_winch_lets_the_old_workers_go_so_that_quit_loses_nothing(self, serve: Start, project: Path) -> None:
        server = serve("--workers", "2", WSGIPERF_PID_FILE=str(project / "pid"))
        port = server.wait_until_it_serves()
        before = serving(port, 2)
        server.signal(signal.SIGWINCH)  # A terminal has changed its size.
        successor = 0
        try:
            with Load(port) as load:
                load.more(10)
                assert workers(port) == before
                server.signal(signal.SIGUSR2)
                server.says("too; TERM to the old one ends that")
                successor = int((project / "pid.2").read_text())
                server.signal(signal.SIGWINCH)
                eventually(lambda: not any(is_running(pid) for pid in before), "the old workers are gone")
                load.more(10)
                server.signal(signal.SIGQUIT)
                assert server.wait() == 0
                load.more(10)
            assert load.failures == []
        finally:
            if successor:
                os.kill(successor, signal.SIGTERM)
                eventually(lambda: not is_running(successor), "the successor has ended")

    def test_old_workers_come_back_when_the_new_program_ends(self, serve: Start, project: Path) -> None:
        server = serve(WSGIPERF_PID_FILE=str(project / "pid"))
        port = server.wait_until_it_serves()
        before = serving(port, 1)
        with Load(port) as load:
            server.signal(signal.SIGUSR2)
            server.says("too; TERM to the old one ends that")
            successor = int((project / "pid.2").read_text())
            server.signal(signal.SIGWINCH)
            eventually(lambda: not any(is_running(pid) for pid in before), "the old worker is gone")
            os.kill(successor, signal.SIGTERM)
            server.says("the workers come back")
            load.more(10)
        assert load.failures == []

    def test_unix_socket_passes_to_the_new_program(self, serve: Start, project: Path) -> None:
        path = project / "site.sock"
        server = serve(address=f"unix:{path}", WSGIPERF_PID_FILE=str(project / "pid"))
        server.wait_until_it_serves("unix:")
        successor = 0
        try:
            server.signal(signal.SIGUSR2)
            server.says("too; TERM to the old one ends that")
            successor = int((project / "pid.2").read_text())
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                assert b"VERSION" in client.makefile("rb").read()
            eventually(lambda: holds(project / "pid", successor), "the new master knows that it is alone")
        finally:
            if successor:
                os.kill(successor, signal.SIGTERM)
                eventually(lambda: not is_running(successor), "the successor has ended")
        assert not path.exists()

    def test_broken_new_code_leaves_the_old_serving(self, serve: Start, project: Path) -> None:
        server = serve(address=f"unix:{project / 'site.sock'}")
        server.wait_until_it_serves("unix:")
        (project / "site_wsgi.py").write_text("import nothing_of_that_name\n")
        server.signal(signal.SIGUSR2)
        server.says("No module named 'nothing_of_that_name'")
        assert "Traceback" not in server.text
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(project / "site.sock"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert b"VERSION" in client.makefile("rb").read()


class TestFork:
    def test_threads_of_the_application_are_named(self, serve: Start, project: Path) -> None:
        amend(
            project / "site_wsgi.py",
            "application =",
            "import threading\n"
            "threading.Thread(target=threading.Event().wait, name='scheduler', daemon=True).start()\napplication =",
        )
        server = serve("--workers", "2")
        server.wait_until_it_serves()
        server.says("The application started threads while it was loaded (scheduler).")
        assert server.text.count("started threads") == 1

    def test_database_connections_do_not_cross_the_fork(self, serve: Start, project: Path, postgres_url: str) -> None:
        amend(
            project / "site_settings.py",
            "WSGIPERF =",
            f"DATABASES = {{'default': {database(postgres_url)!r}}}\nWSGIPERF =",
        )
        ask = "cursor.execute('SELECT pg_backend_pid()'); backend = cursor.fetchone()[0]"
        amend(
            project / "site_wsgi.py",
            "application =",
            f"from django.db import connection\n\ncursor = connection.cursor(); {ask}\napplication =",
        )
        # A fresh import of the module would open a connection anew: what the master saw is passed on by value.
        amend(
            project / "site_urls.py",
            "urlpatterns = [",
            f"""
def backend(request):
    import site_wsgi
    from django.db import connection
    with connection.cursor() as cursor:
        {ask}
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [site_wsgi.backend])
        alive = cursor.fetchone()[0]
    return HttpResponse(f"{{site_wsgi.backend}} {{backend}} {{alive}}")
urlpatterns = [path("backend", backend),""",
        )
        port = serve("--workers", "2", "--ready-checks", "").wait_until_it_serves()
        for _ in range(4):
            loading, own, _ = get(port, "/backend")[1].split()
            assert loading != own
        # The database may take a moment to let go of it.
        eventually(lambda: get(port, "/backend")[1].endswith(" 0"), "the master has closed what loading opened")


def database(url: str) -> dict[str, Any]:
    import dj_database_url

    return dict(dj_database_url.parse(url))


def holds(pid_file: Path, pid: int) -> bool:
    return pid_file.exists() and pid_file.read_text() == f"{pid}\n"
