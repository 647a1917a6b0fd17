"""`manage.py wsgiperf stats`: the numbers of the admin page, laid out for the terminal at hand, or as stable JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.color import make_style
from django.test import override_settings

from django_wsgiperf import conf
from django_wsgiperf.management.wsgiperf import _stats_look, stats
from django_wsgiperf.management.wsgiperf._stats_look import Look, duration, merged, number
from django_wsgiperf.management.wsgiperf._stats_numbers import ordered, plain, the_one
from django_wsgiperf.metrics import pipeline
from django_wsgiperf.metrics.query import StoreError
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.results import PERIODS, Quantiles, RouteRow, Totals

from .running import ROOT, shell, wsgiperf

TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
BOOK, HOME, SEARCH = "/books/<int:pk>/", "/", "/search/"


def serve(route: str, times: int = 1, *, ms: float = 20, status: int = 200, exception: str = "") -> None:
    """Count requests as if they had been served."""
    for _ in range(times):
        record = Record("GET")
        record.route, record.status, record.exception = route, status, exception
        record.ttfb_ns = record.total_ns = int(ms * 1e6)
        record.queue_ns = 1_000_000
        pipeline.submit(record)
    assert pipeline.flush(30)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A store with nothing in it."""
    with override_settings(WSGIPERF={}):
        conf.forget()
        yield


@pytest.fixture
def shop() -> None:
    serve(BOOK, 6, ms=100)
    serve(HOME, 30, ms=2)
    serve(SEARCH, 2, ms=1500, status=500, exception="shop.errors.Broken")


def columns(monkeypatch: pytest.MonkeyPatch, number: int, lines: int = 40) -> None:
    monkeypatch.setenv("COLUMNS", str(number))
    monkeypatch.setenv("LINES", str(lines))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def routes_in(text: str) -> list[str]:
    """The routes in the order in which they are shown."""
    return [line.split()[0] for line in text.splitlines() if re.match(r"  /", line)]


class TestText:
    def test_shows_sums_quantiles_and_where_the_time_goes(self, shop: None) -> None:
        shown = wsgiperf("stats")
        assert shown.code == 0
        assert re.search(r"^  requests +38 ", shown.out, re.M)
        assert re.search(r"^  response +p50 .*p95 .*p99 .*max 1\.5 s", shown.out, re.M)
        assert re.search(r"^  errors +5xx 5\.3 %  4xx 0 %  2 exceptions", shown.out, re.M)
        assert re.search(r"^  time +python 99 %", shown.out, re.M)
        assert "release" not in shown.out.splitlines()[0]

    def test_routes_come_by_the_time_they_took(self, shop: None) -> None:
        assert routes_in(wsgiperf("stats").out) == [SEARCH, BOOK, HOME]

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("requests", [HOME, BOOK, SEARCH]),
            ("p95", [SEARCH, BOOK, HOME]),
            ("errors", [SEARCH, HOME, BOOK]),
            ("route", [HOME, BOOK, SEARCH]),
        ],
    )
    def test_routes_can_be_sorted(self, shop: None, sort: str, expected: list[str]) -> None:
        assert routes_in(wsgiperf("stats", "--sort", sort).out) == expected

    def test_limit_leaves_the_rest_uncounted_but_told(self, shop: None) -> None:
        shown = wsgiperf("stats", "--limit", "1").out
        assert routes_in(shown) == [SEARCH]
        assert "and 2 more" in shown

    @pytest.mark.parametrize(
        ("middleware", "metrics", "arguments", "said"),
        [
            ([], {}, (), "Put 'django_wsgiperf.middleware.RequestTimingMiddleware' first into MIDDLEWARE."),
            ([TIMING], {}, ("--host", "web-9"), "Is web-9 the name of a host? Without --host, all are shown."),
            ([TIMING], {"INTERVAL_S": 5}, (), "What a server measures is written every 5 s."),
        ],
    )
    def test_nothing_counted_says_what_may_be_missing(
        self, middleware: list[str], metrics: dict[str, object], arguments: tuple[str, ...], said: str
    ) -> None:
        with override_settings(MIDDLEWARE=middleware, WSGIPERF={"METRICS": metrics}):
            shown = wsgiperf("stats", *arguments)
        assert shown.code == 1
        assert f"No request was counted. {said}" in " ".join(shown.out.split())

    def test_this_command_is_no_process_that_serves(self, shop: None) -> None:
        assert f":{os.getpid()} " not in wsgiperf("stats").out

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
    def test_no_line_is_wider_than_the_terminal(self, shop: None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        columns(monkeypatch, width)
        serve("/" + "long/" * 60, 1)
        terminal = Terminal()
        call_command("wsgiperf", "stats", stdout=terminal, force_color=True)
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
        assert max(map(len, lines)) <= width
        assert any("p95" in line for line in lines)
        assert any(line.startswith("  /search/") for line in lines)

    @pytest.mark.parametrize("width", [50, 80, 100, 120])
    def test_parts_of_the_time_that_do_not_fit_are_left_out_whole(
        self, width: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        columns(monkeypatch, width)
        record = Record("GET")
        record.route, record.status = HOME, 200
        record.ttfb_ns, record.queue_ns, record.write_ns = 50_000_000, 30_000_000, 20_000_000
        record.template_ns, record.gc_ns = 12_000_000, 9_000_000
        record.accounted_ns = record.template_ns + record.gc_ns
        record.total_ns = record.ttfb_ns
        pipeline.submit(record)
        assert pipeline.flush(30)
        [line] = [line for line in shown_on(Terminal()).splitlines() if line.startswith("  time ")]
        assert len(line) <= width
        assert "\u2026" not in line
        assert re.fullmatch(r"  time +(\w+ [\d.]+ % [\u2588\u00b7]+(  |$))+", line)

    def test_colours_are_for_terminals(self, shop: None) -> None:
        assert "\x1b" not in wsgiperf("stats").out
        assert "\x1b[" in shown_on(Terminal(), "--force-color")

    def test_terminal_without_unicode_gets_ascii(self, shop: None) -> None:
        serve("/b\u00fccher/", 1)
        for stream in (Terminal(), io.StringIO()):
            plain_stream = type("Plain", (type(stream),), {"encoding": "ascii"})()
            shown = shown_on(plain_stream)
            assert shown.isascii()
            assert "##" in shown
        assert "\u2588" in shown_on(Terminal())

    def test_control_characters_do_not_reach_the_terminal(self) -> None:
        serve("/evil\x1b[2J/", 1)
        assert "\x1b" not in wsgiperf("stats").out

    @pytest.mark.parametrize("period", PERIODS)
    def test_every_period_can_be_shown(self, shop: None, period: str) -> None:
        assert tuple(PERIODS) == stats.PERIODS
        assert wsgiperf("stats", "--period", period).code == 0

    def test_another_host_has_nothing(self, shop: None) -> None:
        shown = wsgiperf("stats", "--host", "elsewhere")
        assert shown.code == 1
        assert "elsewhere" in shown.out


def shown_on(stream: io.StringIO, *arguments: str) -> str:
    call_command("wsgiperf", "stats", *arguments, stdout=stream)
    return stream.getvalue()


class TestRoute:
    def test_all_about_one_route(self, shop: None) -> None:
        shown = wsgiperf("stats", "--route", SEARCH).out
        assert re.search(r"^  requests +2 ", shown, re.M)
        assert re.search(r"^  statuses +500 2", shown, re.M)
        assert re.search(r"^  exceptions +shop\.errors\.Broken 2", shown, re.M)
        assert "slowest requests" in shown
        assert re.search(r"GET 500  1\.5 s", shown)
        assert re.search(r"2 +100 %", shown), "the spread of response times"

    def test_a_part_of_its_name_will_do(self, shop: None) -> None:
        assert BOOK in wsgiperf("stats", "--route", "books").out

    def test_a_name_that_is_none_is_told_with_those_like_it(self, shop: None) -> None:
        with pytest.raises(CommandError, match=r"no route has '/serch/' in the last 1h; there are /search/"):
            wsgiperf("stats", "--route", "/serch/")
        serve("/books/new/", 1)
        with pytest.raises(CommandError, match="several routes have 'books'"):
            wsgiperf("stats", "--route", "books")


class TestJson:
    def test_is_what_the_query_gives(self, shop: None) -> None:
        told = json.loads(wsgiperf("stats", "--json").out)
        assert told["schema"] == 1
        assert told["period"] == "1h"
        assert told["totals"]["requests"] == 38
        assert told["totals"]["statuses"] == {"200": 36, "500": 2}
        assert [row["route"] for row in told["routes"]] == [SEARCH, BOOK, HOME]
        assert told["routes"][0]["totals"]["quantiles"]["max"] == pytest.approx(1.5, rel=0.05)
        assert told["route"] is None
        assert sum(point["totals"]["requests"] for point in told["series"]) == 38

    def test_one_route_has_its_detail(self, shop: None) -> None:
        told = json.loads(wsgiperf("stats", "--json", "--route", SEARCH).out)
        assert told["route"]["row"]["totals"]["requests"] == 2
        assert told["route"]["samples"][0]["status"] == 500

    def test_keys_do_not_go_away(self) -> None:
        """Programs read them: add, never remove."""
        told = json.loads(wsgiperf("stats", "--json").out)
        assert set(told) >= {
            *("schema", "period", "host", "begin_s", "end_s", "step_s", "totals", "previous", "series", "marks"),
            *("hosts", "releases", "routes", "route", "processes", "running"),
        }
        assert set(told["totals"]) >= {
            *("requests", "errors_4xx", "errors_5xx", "exceptions", "aborted", "wall_s", "cpu_s", "parts_s", "queries"),
            *("rows", "cache_calls", "cache_hits", "cache_misses", "page_cache", "bytes", "statuses", "methods"),
            *("quantiles", "queue_p95_s", "apdex"),
        }

    def test_everything_in_it_is_plain(self) -> None:
        assert plain({1: (Quantiles(p50=0.1), [None])}) == {
            "1": [{"p50": 0.1, "p95": None, "p99": None, "max": None, "mean": None}, [None]]
        }


class TestWatch:
    @pytest.fixture
    def turns(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Has the watching end by Ctrl-C after so many showings; between them something may happen."""

        def plan(number: int, between: Callable[[], None] = lambda: None) -> None:
            left = [number]

            def wait(seconds: float) -> None:
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt
                between()

            real = stats._watch
            monkeypatch.setattr(stats, "_watch", lambda command, options: real(command, options, wait))

        return plan

    def test_draws_over_itself_and_leaves_the_screen_as_it_was(
        self, shop: None, turns: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        columns(monkeypatch, 100, 30)
        terminal = Terminal()
        turns(3, lambda: serve(HOME, 1))
        call_command("wsgiperf", "stats", "--watch", "1", stdout=terminal)
        shown = terminal.getvalue()
        assert shown.startswith("\x1b[?1049h\x1b[?25l")
        assert shown.endswith("\x1b[?25h\x1b[?1049l")
        assert "\x1b[2J" not in shown, "nothing is blank in between"
        screens = shown.split("\x1b[H")[1:]
        assert len(screens) == 3
        assert [re.search(r"requests +(\d+)", screen)[1] for screen in screens] == ["38", "39", "40"]  # type: ignore[index]
        assert all(screen.count("\n") < 30 for screen in screens)

    def test_many_routes_give_way_to_what_is_below_them(
        self, turns: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        columns(monkeypatch, 100, 24)
        for n in range(60):
            serve(f"/{n}/", 1)
        terminal = Terminal()
        turns(1)
        call_command("wsgiperf", "stats", "--watch", stdout=terminal)
        assert "No process has reported lately." in terminal.getvalue()
        assert re.search(r"and \d+ more", terminal.getvalue())

    def test_into_a_pipe_goes_one_after_the_other(self, shop: None, turns: Callable[..., None]) -> None:
        turns(2)
        shown = wsgiperf("stats", "--watch").out
        assert "\x1b" not in shown
        assert len(re.findall(r"requests +38", shown)) == 2

    def test_json_is_an_object_a_line(self, shop: None, turns: Callable[..., None]) -> None:
        turns(3)
        lines = wsgiperf("stats", "--watch", "--json").out.splitlines()
        assert [json.loads(line)["totals"]["requests"] for line in lines] == [38, 38, 38]

    def test_store_that_goes_away_is_told_and_may_come_back(
        self, shop: None, turns: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django_wsgiperf.management.wsgiperf import _stats_numbers

        real, calls = _stats_numbers.gather, [0]

        def sometimes(*arguments: Any) -> Any:
            calls[0] += 1
            if calls[0] == 2:
                raise StoreError("the database is away")
            return real(*arguments)

        monkeypatch.setattr(_stats_numbers, "gather", sometimes)
        turns(3)
        shown = wsgiperf("stats", "--watch").out
        assert len(re.findall(r"requests +38", shown)) == 2
        assert "the numbers cannot be read: the database is away" in shown


def test_ctrl_c_ends_watching_in_a_real_terminal_and_leaves_it_as_it_was() -> None:
    """The tests' database has no tables, which is told, and tried again."""
    master, slave = pty.openpty()
    shown = b""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "wsgiperf", "stats", "--watch", "0.2"],
            cwd=ROOT,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith(("WSGIPERF_", "COLUMNS"))},
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm",
            },
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        while shown.count(b"cannot be read") < 3:
            piece = os.read(master, 65536)
            assert piece, shown
            shown += piece
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # How a terminal says that nobody is left at its other end.
            while piece := os.read(master, 65536):
                shown += piece
        assert process.wait(40) == 0
    finally:
        os.close(master)
    text = shown.decode()
    assert text.startswith("\x1b[?1049h\x1b[?25l")
    assert text.endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in text


class TestErrors:
    def test_memory_store_says_where_the_numbers_are(self) -> None:
        with (
            override_settings(WSGIPERF={"METRICS": {"STORE": "memory"}}),
            pytest.raises(CommandError, match=r"STORE'. is 'memory'.*database.*redis.*stats"),
        ):
            wsgiperf("stats")

    def test_turned_off_is_said(self) -> None:
        with (
            override_settings(WSGIPERF={"METRICS": {"ENABLED": False}}),
            pytest.raises(CommandError, match="ENABLED"),
        ):
            wsgiperf("stats")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--period", "2h"),
            ("--sort", "beauty"),
            ("--limit", "0"),
            ("--limit", "x"),
            ("--watch", "0"),
            ("--watch", "x"),
        ],
    )
    def test_what_it_does_not_understand_is_usage(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError) as caught:
            wsgiperf("stats", *arguments)
        assert caught.value.returncode in (1, 2)

    def test_store_that_cannot_be_read_is_said_in_words(self) -> None:
        done = shell("stats", WSGIPERF_METRICS_STORE="database")
        assert done.code == 1
        assert "the numbers cannot be read" in done.err
        assert "Traceback" not in done.err


class TestParts:
    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (None, "-"),
            (0.0, "0.0 ms"),
            (0.000_42, "0.4 ms"),
            (0.0123, "12 ms"),
            (0.9996, "1000 ms"),
            (1.25, "1.2 s"),
            (42.4, "42 s"),
            (200.0, "3 min 20 s"),
        ],
    )
    def test_durations(self, seconds: float | None, shown: str) -> None:
        assert duration(seconds) == shown

    @pytest.mark.parametrize(
        ("value", "shown"), [(0, "0"), (0.042, "0.042"), (3.42, "3.4"), (57.3, "57"), (12345, "12,345")]
    )
    def test_numbers(self, value: float, shown: str) -> None:
        assert number(value) == shown

    def test_graph_has_a_height_for_each_value(self) -> None:
        look = Look(style=make_style("nocolor"), columns=80)
        assert look.graph([0.0, 1.0, None, 8.0, 4.0], 10) == "\u2581\u2581 \u2588\u2584"
        assert look.graph([], 10) == look.graph([None, 0.0], 10) == ""
        assert len(look.graph([float(n) for n in range(1000)], 60)) <= 60

    def test_figures_that_do_not_fit_go_on_in_another_line_whole(self) -> None:
        look = Look(style=make_style("light"), columns=40)
        figures = ["p50 2.2 ms", look.style.ERROR("p95 131 ms"), "p99 369 ms"]
        first, second = (re.sub(r"\x1b\[[0-9;]*m", "", line) for line in look.wrap("response", figures))
        assert (first, second) == ("response    p50 2.2 ms  p95 131 ms", "            p99 369 ms")
        assert list(look.wrap("errors", [])) == ["errors"]

    def test_neighbours_are_merged_to_the_largest(self) -> None:
        assert merged([1, 2, 3, None, None, None], 3) == [2, 3, None]
        assert merged([1, 2], 10) == [1, 2]

    def test_a_part_of_several_names_is_none(self) -> None:
        assert the_one("/", ["/", "/a/"]) == "/", "itself first"
        assert the_one("a", ["/", "/a/"]) == "/a/"
        assert the_one("a", ["/a/", "/ba/"]) is None

    def test_routes_of_equal_rank_are_in_the_order_of_the_alphabet(self) -> None:
        rows = [RouteRow(name, Totals(requests=1), 0.0) for name in ("/c", "/a", "/b")]
        for sort in stats.SORTS:
            assert [row.route for row in ordered(rows, sort)] == ["/a", "/b", "/c"]

    @pytest.mark.parametrize(
        ("part", "whole", "shown"), [(0, 0, "-"), (0, 5, "0 %"), (1, 1000, "0.1 %"), (1, 3, "33 %"), (5, 5, "100 %")]
    )
    def test_shares(self, part: float, whole: float, shown: str) -> None:
        assert _stats_look.share(part, whole) == shown
