"""The helpers that the benchmarks' numbers go through: statistics, tables, wrk's result, the open loop, verdicts."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.common import openloop, tables, wrk
from tests.benchmarks.common.database import with_name
from tests.benchmarks.common.stats import Spread, paired_ratios, percentile, schedule
from tests.benchmarks.common.verdicts import Verdict, tally
from tests.benchmarks.serving.results import Measurement, Run
from tests.benchmarks.serving.targets import judge


class TestStatistics:
    def test_spread_has_median_and_range(self) -> None:
        assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)

    def test_spread_of_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            Spread.of([])

    def test_percentile_is_the_nearest_rank(self) -> None:
        values = [float(value) for value in range(1, 101)]
        assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]

    def test_percentile_outside_its_range_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="not 0"):
            percentile([1.0], 0)

    @given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
    def test_percentile_is_one_of_the_values_and_covers_its_share(self, values: list[float], percent: float) -> None:
        found = percentile(values, percent)
        assert found in values
        assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9

    def test_ratios_pair_the_same_round_and_leave_out_lonely_ones(self) -> None:
        assert paired_ratios({0: 10.0, 1: 30.0, 2: 5.0}, {0: 5.0, 1: 10.0, 3: 1.0}) == [2.0, 3.0]

    def test_a_divisor_of_zero_is_left_out(self) -> None:
        assert paired_ratios({0: 1.0}, {0: 0.0}) == []

    def test_schedule_has_everyone_once_a_round_and_repeats_by_seed(self) -> None:
        orders = schedule(["a", "b", "c"], 20, seed=3)
        assert all(sorted(order) == ["a", "b", "c"] for order in orders)
        assert len({tuple(order) for order in orders}) > 1
        assert orders == schedule(["a", "b", "c"], 20, seed=3)


class TestTables:
    @pytest.mark.parametrize(
        ("value", "text"), [(14_431.6, "14,432"), (26.71, "26.7"), (4.214, "4.21"), (0.0481, "0.048"), (0, "0")]
    )
    def test_numbers_have_three_digits(self, value: float, text: str) -> None:
        assert tables.number(value) == text

    def test_spread_of_one_round_shows_no_range(self) -> None:
        assert tables.spread(Spread(2.0, 2.0, 2.0)) == "2.00"
        assert tables.spread(Spread(2.0, 1.0, 3.0)) == "2.00 (1.00 - 3.00)"

    def test_markdown_aligns_numbers_to_the_right(self) -> None:
        assert tables.markdown_table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"

    def test_only_the_generated_part_is_replaced(self) -> None:
        page = "mine\n<!-- generated: x -->\nold\n<!-- end of x -->\nalso mine\n"
        new = tables.replace_generated(page, "x", "new")
        assert new == "mine\n<!-- generated: x -->\n\nnew\n\n<!-- end of x -->\nalso mine\n"
        assert tables.replace_generated(new, "x", "new") == new

    def test_missing_markers_are_named(self) -> None:
        with pytest.raises(tables.MarkerError, match="generated: x"):
            tables.replace_generated("page", "x", "new")


class TestWrk:
    LINE = (
        'WRK {"requests": 200, "duration_us": 2000000, "bytes": 9, "max_us": 9000, '
        '"percentiles_us": {"50": 1500, "99": 8000}, '
        '"errors": {"connect": 0, "read": 1, "write": 0, "status": 2, "timeout": 0}}'
    )

    def test_result_line_is_found_among_the_output(self) -> None:
        load = wrk.parse(f"Running 2s test\n{self.LINE}\nbye\n")
        assert (load.rate, load.p50_ms, load.p99_ms, load.max_ms, load.failed) == (100.0, 1.5, 8.0, 9.0, 3)

    def test_output_without_a_result_is_quoted(self) -> None:
        with pytest.raises(wrk.LoadError, match="unable to connect"):
            wrk.parse("unable to connect to 127.0.0.1")


class TestOpenLoopParsing:
    def test_a_response_in_pieces_is_whole_only_at_its_end(self) -> None:
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
        assert [openloop.parse(whole[:end])[1] for end in (10, len(whole) - 1, len(whole))] == [False, False, True]
        assert openloop.parse(whole) == (200, True, True)

    def test_close_is_understood(self) -> None:
        closing = b"HTTP/1.1 503 Busy\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n"
        assert openloop.parse(closing) == (503, True, False)

    def test_arrivals_repeat_by_seed_and_have_the_rate(self) -> None:
        times = openloop.arrivals(1000, 5, seed=1)
        assert times == openloop.arrivals(1000, 5, seed=1)
        assert times == sorted(times)
        assert 4700 < len(times) < 5300
        assert times[-1] < 5

    def test_too_many_requests_are_refused(self) -> None:
        with pytest.raises(ValueError, match="shorten"):
            openloop.arrivals(1e6, 10, seed=1)


class Answers(socketserver.StreamRequestHandler):
    """Says 200 to /good, 503 to /busy, nothing to /silent, and hangs up on /rude."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            path = line.split()[1]
            if path == b"/rude":
                return
            if path == b"/silent":
                self.rfile.read(1)
                return
            status = b"200 OK" if path == b"/good" else b"503 Busy"
            self.wfile.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")


class Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def port() -> Iterator[int]:
    with Threaded(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, name="answers", kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class TestOpenLoop:
    def tally(self, port: int, path: str) -> openloop.Tally:
        return openloop.run(port, path, rate=100, seconds=0.3, timeout_s=0.2, seed=4)

    def test_good_answers_are_counted_with_their_latency(self, port: int) -> None:
        tally = self.tally(port, "/good")
        assert tally.due == tally.good == len(tally.latencies_ms) > 0

    def test_503_is_shed_not_good(self, port: int) -> None:
        tally = self.tally(port, "/busy")
        assert (tally.good, tally.shed) == (0, tally.due)

    def test_silence_times_out(self, port: int) -> None:
        tally = self.tally(port, "/silent")
        assert (tally.good, tally.timed_out) == (0, tally.due)

    def test_hanging_up_is_broken(self, port: int) -> None:
        tally = self.tally(port, "/rude")
        assert (tally.good, tally.broken) == (0, tally.due)

    def test_nobody_listening_is_broken(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            tally = self.tally(bound.getsockname()[1], "/good")
        assert (tally.good, tally.broken) == (0, tally.due)


class TestVerdicts:
    def test_met_not_met_and_not_measured(self) -> None:
        verdicts = [
            Verdict(scenario="s", what="w", at_least=0.9, measured=0.9),
            Verdict(scenario="s", what="w", at_most=0.5, measured=0.51),
            Verdict(scenario="s", what="w", at_most=0.5, measured=None),
        ]
        assert [verdict.word for verdict in verdicts] == ["met", "not met", "not measured"]
        assert tally(verdicts) == "1 of 3 targets met, 1 not met, 1 not measured"

    def test_database_is_judged_against_the_best_peer_of_each_kind(self) -> None:
        run = Run(about={})
        for server, rate, p99 in (("serve", 100.0, 10.0), ("gthread", 50.0, 5.0), ("granian", 80.0, 40.0)):
            values = {"rate": rate, "p50_ms": 1.0, "p99_ms": p99}
            run.measurements.append(Measurement(scenario="database", workers=1, server=server, round=0, values=values))
        by_rate, _, by_p99 = judge(run)
        assert ("granian" in by_rate.what, by_rate.measured, by_rate.word) == (True, 1.25, "met")
        assert ("gthread" in by_p99.what, by_p99.measured, by_p99.word) == (True, 2.0, "not met")


def test_results_survive_the_file(tmp_path: Path) -> None:
    run = Run(about={"seconds": 4})
    run.measurements.append(Measurement(scenario="small", workers=1, server="serve", round=0, values={"rate": 1.0}))
    run.save(tmp_path / "results.json")
    assert Run.load(tmp_path / "results.json") == run


def test_database_name_is_replaced_in_the_address() -> None:
    assert with_name("postgresql://u:p%40@h:1/old?x=1", "new") == "postgresql://u:p%40@h:1/new?x=1"
