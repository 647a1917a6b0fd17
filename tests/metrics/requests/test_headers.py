"""Header fields: what is believed, what is generated, and who is told where the time went."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics import headers

from .conftest import TIMING, Measured, measuring
from .site import hooks

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
NOW = 1_700_000_000.0
ENTRY = re.compile(r'[a-z-]+(;dur=\d+\.\d)?(;desc="[^"]*")?')
HERE = "tests.metrics.requests.test_headers."


class TestRequestId:
    def test_every_response_has_one(self, measured: Measured) -> None:
        answers = [measured.ask("/plain/") for _ in range(3)]
        ids = {answer.headers["X-Request-ID"] for answer in answers}
        assert len(ids) == 3
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
        assert [record.request_id for record in measured.records] == [a.headers["X-Request-ID"] for a in answers]

    def test_errors_have_one_too(self, measured: Measured) -> None:
        assert "X-Request-ID" in measured.ask("/fails/").headers

    @pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
    def test_a_clients_own_is_kept(self, measured: Measured, given: str) -> None:
        assert measured.ask("/plain/", HTTP_X_REQUEST_ID=given).headers["X-Request-ID"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\nb", "a\n", "é", "<script>", '"'])
    def test_what_is_not_well_formed_is_replaced(self, measured: Measured, given: str) -> None:
        assert re.fullmatch("[0-9a-f]{32}", measured.ask("/plain/", HTTP_X_REQUEST_ID=given).headers["X-Request-ID"])

    def test_the_project_can_read_it(self, measured: Measured) -> None:
        answer = measured.begin("/who/", HTTP_X_REQUEST_ID="mine", HTTP_TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
        assert answer.read().decode() == f"mine {TRACE}"

    def test_not_where_it_is_turned_off(self, db: None) -> None:
        with measuring(metrics={"REQUEST_ID": False}) as measured:
            answer = measured.ask("/plain/", HTTP_X_REQUEST_ID="mine")
        assert "X-Request-ID" not in answer.headers
        assert measured.records[0].request_id == ""

    def test_a_forked_process_makes_others(self) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(write, headers.next_request_id().encode())
            os._exit(0)
        os.waitpid(pid, 0)
        theirs = os.read(read, 100).decode()
        os.close(read)
        os.close(write)
        assert len(theirs) == 32
        assert theirs[:16] != headers.next_request_id()[:16]


class TestTraceparent:
    def test_its_trace_is_known(self, measured: Measured) -> None:
        assert measured.record("/plain/", HTTP_TRACEPARENT=f"00-{TRACE}-{SPAN}-01").trace_id == TRACE
        assert measured.record("/plain/").trace_id == ""

    @pytest.mark.parametrize(
        ("value", "trace"),
        [
            (f"00-{TRACE}-{SPAN}-00", TRACE),
            (f" 00-{TRACE}-{SPAN}-01 ", TRACE),
            (f"cc-{TRACE}-{SPAN}-01-what-the-future-holds", TRACE),
            (f"00-{TRACE}-{SPAN}-01-more", ""),
            (f"ff-{TRACE}-{SPAN}-01", ""),
            (f"00-{'0' * 32}-{SPAN}-01", ""),
            (f"00-{TRACE}-{'0' * 16}-01", ""),
            (f"00-{TRACE.upper()}-{SPAN}-01", ""),
            (f"00-{TRACE[:-1]}-{SPAN}-01", ""),
            (f"00-{TRACE}-{SPAN}", ""),
            (f"00-{TRACE}-{SPAN}-01\n{TRACE}", ""),
            ("", ""),
        ],
    )
    def test_only_what_is_well_formed_is_believed(self, value: str, trace: str) -> None:
        assert headers.trace_id_of(value) == trace

    @given(st.text())
    def test_anything_else_gives_nothing(self, value: str) -> None:
        assert re.fullmatch("([0-9a-f]{32})?", headers.trace_id_of(value))


class TestRequestStart:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("t=1699999999.5", 0.5),
            ("1699999999.500", 0.5),
            ("1699999999500", 0.5),
            ("t=1699999999500000", 0.5),
            ("1699999999500000000", 0.5),
            ("t=1699999999.5s", 0.5),
            ("t=1700000005", 0.0),
            ("t=1600000000", 60.0),
        ],
    )
    def test_every_unit_is_understood_and_what_cannot_be_is_cut_off(self, value: str, seconds: float) -> None:
        assert headers.queued_ns_since(value, NOW) / 1e9 == pytest.approx(seconds, abs=1e-5)

    @pytest.mark.parametrize("value", ["", "t=", "now", "-1", "nan", "inf", "1e9", "12", "9" * 30, "t=t=1", "1 2"])
    def test_what_is_no_time_is_not_known(self, value: str) -> None:
        assert headers.queued_ns_since(value, NOW) == -1

    @given(st.text())
    def test_nothing_raises_and_everything_is_within_a_minute(self, value: str) -> None:
        assert -1 <= headers.queued_ns_since(value, NOW) <= 60e9

    def test_believed_only_from_a_trusted_proxy(self, db: None) -> None:
        started = f"t={time.time() - 5:.3f}"
        with measuring() as measured:
            assert measured.record("/plain/", HTTP_X_REQUEST_START=started).queue_ns == -1
        with measuring(metrics={"TRUST_REQUEST_START": True}) as measured:
            assert measured.record("/plain/", HTTP_X_REQUEST_START=started).queue_ns >= 5e9 - 1e6
            told = {"HTTP_X_REQUEST_START": started, "wsgiperf.queue_ns": 7}
            assert measured.record("/plain/", **told).queue_ns == 7, "the server knows it better"


def loads_nothing(get_response: Any) -> Any:
    """Fails the test when somebody else loads the user."""

    def middleware(request: HttpRequest) -> Any:
        from django.utils.functional import SimpleLazyObject

        def load() -> None:
            raise AssertionError("the user was loaded")

        request.user = SimpleLazyObject(load)  # type: ignore[assignment]
        return get_response(request)

    return middleware


def user_of(name: str) -> Any:
    def factory(get_response: Any) -> Any:
        def middleware(request: HttpRequest) -> Any:
            request.user = User(username=name, is_staff="staff" in name, is_active="gone" not in name)
            return get_response(request)

        return middleware

    return factory


staff, visitor, gone_staff = user_of("staff"), user_of("visitor"), user_of("gone staff")


class TestServerTiming:
    def ask(self, *middleware: str, path: str = "/queries/2/", debug: bool = False, **metrics: Any) -> str | None:
        with measuring(middleware=(TIMING, *middleware), metrics=metrics, DEBUG=debug) as measured:
            return measured.ask(path).headers.get("Server-Timing")

    @pytest.mark.parametrize("name", ["visitor", "gone_staff", "loads_nothing"])
    def test_others_are_not_told(self, db: None, name: str) -> None:
        assert self.ask(HERE + name) is None
        assert self.ask() is None

    def test_staff_is_told_what_the_time_was_spent_on(self, db: None) -> None:
        value = self.ask(HERE + "staff")
        assert value is not None
        entries = value.split(", ")
        assert [entry.partition(";")[0] for entry in entries][:3] == ["total", "db", "pool"]
        assert 'desc="2 queries"' in entries[1]
        assert all(ENTRY.fullmatch(entry) for entry in entries)

    def test_every_part_that_there_is(self, db: None) -> None:
        with measuring(middleware=(TIMING, HERE + "staff")) as measured:
            value = measured.ask("/cached/", **{"wsgiperf.queue_ns": 1_000_000, "wsgiperf.page_cache": "miss"}).headers
            assert "queue;dur=1.0" in value["Server-Timing"]
            assert 'desc="2 hits, 2 misses"' in value["Server-Timing"]
            assert 'page-cache;desc="miss"' in value["Server-Timing"]
            assert "template;dur=" in measured.ask("/rendered/").headers["Server-Timing"]
            assert "gc;dur=" in measured.ask("/collects/").headers["Server-Timing"]

    def test_everybody_with_all_and_with_debug_and_nobody_with_off(self, db: None) -> None:
        assert self.ask(SERVER_TIMING="all") is not None
        assert self.ask(debug=True) is not None
        assert self.ask(HERE + "staff", debug=True, SERVER_TIMING="off") is None

    def test_what_the_application_says_stays(self, db: None) -> None:
        hooks["view"] = lambda: HttpResponse("own", headers={"Server-Timing": "mine;dur=1"})
        value = self.ask(path="/hooked/", SERVER_TIMING="all")
        assert value is not None
        assert value.startswith("mine;dur=1, total;dur=")


class TestAccessLogger:
    def test_a_line_for_each_request_with_the_numbers_as_fields(
        self, db: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with measuring(metrics={"ACCESS_LOG": True}) as measured, caplog.at_level(logging.INFO):
            measured.ask("/books/1/?token=secret", HTTP_X_REQUEST_ID="mine", HTTP_COOKIE="a=secret")
        (line,) = [record for record in caplog.records if record.name == "django_wsgiperf.access"]
        fields = vars(line)
        assert (fields["route"], fields["status"], fields["request_id"]) == ("/books/<int:pk>/", 200, "mine")
        assert fields["duration_ms"] >= fields["ttfb_ms"] > 0
        assert (fields["queries"], fields["queue_ms"]) == (0, None)
        assert "secret" not in repr(fields)
        assert line.getMessage().startswith("GET '/books/1/' 200 ")

    def test_a_path_cannot_forge_a_line(self, db: None, caplog: pytest.LogCaptureFixture) -> None:
        with measuring(metrics={"ACCESS_LOG": True}) as measured, caplog.at_level(logging.INFO):
            measured.ask("/x\nGET / 200")
        (line,) = [record for record in caplog.records if record.name == "django_wsgiperf.access"]
        assert "\n" not in line.getMessage()

    def test_none_without_the_setting(self, measured: Measured, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            measured.ask("/plain/")
        assert not [record for record in caplog.records if record.name == "django_wsgiperf.access"]
