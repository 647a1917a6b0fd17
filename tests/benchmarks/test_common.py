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

from tests.benchmarks.common import openloop, page, tables, wrk
from tests.benchmarks.common.database import with_name
from tests.benchmarks.common.results import Remark, Run, added, load, save
from tests.benchmarks.common.stats import Spread, paired_ratios, percentile, schedule
from tests.benchmarks.common.verdicts import Verdict, tally
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


class TestPage:
    PAGE = "mine\n<!-- generated: x -->\nold\n<!-- end of x -->\nalso mine\n"

    def test_only_the_generated_section_is_changed(self) -> None:
        new = page.replace_tables(self.PAGE, "x", {"a": "new"}, ["a", "b"])
        assert new == ("mine\n<!-- generated: x -->\n\n<!-- table: a -->\n\nnew\n\n<!-- end of x -->\nalso mine\n")
        assert page.replace_tables(new, "x", {"a": "new"}, ["a", "b"]) == new

    def test_tables_that_are_not_given_stay_and_all_are_in_their_order(self) -> None:
        both = page.replace_tables(self.PAGE, "x", {"a": "| 1 |", "c": "| 3 |"}, ["a", "b", "c"])
        new = page.replace_tables(both, "x", {"b": "| 2 |"}, ["a", "b", "c"])
        assert [new.index(text) for text in ("| 1 |", "| 2 |", "| 3 |")] == sorted(
            new.index(text) for text in ("| 1 |", "| 2 |", "| 3 |")
        )
        newer = page.replace_tables(new, "x", {"c": "| 4 |"}, ["a", "b", "c"])
        assert newer == new.replace("| 3 |", "| 4 |")

    def test_what_belongs_to_no_table_is_not_kept(self) -> None:
        left_over = self.PAGE.replace(
            "old", "- Failed: the run was stopped before its end\n\n<!-- table: gone -->\n\n9"
        )
        new = page.replace_tables(left_over, "x", {"a": "new"}, ["a"])
        assert "Failed" not in new
        assert "gone" not in new

    def test_missing_markers_are_named(self) -> None:
        with pytest.raises(page.MarkerError, match="generated: x"):
            page.replace_tables("page", "x", {"a": "new"}, ["a"])

    def test_a_table_without_a_place_is_named_and_nothing_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "page.md"
        path.write_text(self.PAGE)
        with pytest.raises(ValueError, match="tables z; there are: a"):
            page.write_tables(path, "x", {"z": "new"}, ["a"])
        assert path.read_text() == self.PAGE


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
    def tally(self, port: int, path: str, timeout_s: float = 60.0) -> openloop.Tally:
        return openloop.run(port, path, rate=100, seconds=0.3, timeout_s=timeout_s, seed=4)

    def test_good_answers_are_counted_with_their_latency(self, port: int) -> None:
        tally = self.tally(port, "/good")
        assert tally.due == tally.good == len(tally.latencies_ms) > 0

    def test_503_is_shed_not_good(self, port: int) -> None:
        tally = self.tally(port, "/busy")
        assert (tally.good, tally.shed) == (0, tally.due)

    def test_silence_times_out(self, port: int) -> None:
        tally = self.tally(port, "/silent", timeout_s=0.2)
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
            run.add("database-1", server, 0, values)
        by_rate, _, by_p99 = judge(run, "database-1")
        assert ("granian" in by_rate.what, by_rate.measured, by_rate.word) == (True, 1.25, "met")
        assert ("gthread" in by_p99.what, by_p99.measured, by_p99.word) == (True, 2.0, "not met")


class TestResults:
    def run(self, **rates: float) -> Run:
        run = Run(about={"seconds": 4})
        for scenario, rate in rates.items():
            run.add(scenario, "serve", 0, {"rate": rate})
            run.note(f"of {scenario}", scenario)
            run.fail(f"broken {scenario}", scenario)
            run.finished.append(scenario)
        return run

    def test_results_survive_the_file(self, tmp_path: Path) -> None:
        runs = [self.run(small=1.0, mixed=2.0), self.run(idle=3.0)]
        save(tmp_path / "results.json", runs)
        assert load(tmp_path / "results.json") == runs

    def test_a_file_of_another_form_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "results.json").write_text('{"about": {}}')
        with pytest.raises(ValueError, match="not a list of runs"):
            load(tmp_path / "results.json")

    def test_older_results_are_kept_for_scenarios_that_were_not_measured_again(self) -> None:
        older, newer = self.run(one=1.0, five=2.0), self.run(five=3.0)
        kept = added([older], newer)
        assert [run.scenarios() for run in kept] == [["one"], ["five"]]
        assert kept[0].values("one", "serve", "rate") == {0: 1.0}
        assert kept[1].values("five", "serve", "rate") == {0: 3.0}
        # What was wrong with the figures that are gone, is gone.
        assert kept[0].notes == [Remark("of one", "one")]
        assert kept[0].failures == [Remark("broken one", "one")]
        assert kept[0].finished == ["one"]

    def test_a_run_of_which_nothing_is_left_is_gone(self) -> None:
        newer = self.run(one=3.0)
        assert added([self.run(one=1.0)], newer) == [newer]

    def test_ratios_and_differences_are_of_the_same_round(self) -> None:
        run = Run(about={})
        for round_, (ours, theirs) in enumerate([(2.0, 1.0), (90.0, 30.0), (8.0, 1.0)]):
            run.add("small", "ours", round_, {"rate": ours})
            run.add("small", "theirs", round_, {"rate": theirs})
        assert run.middle("small", "ours", "rate") == 8.0
        assert run.ratio("small", "ours", "theirs", "rate") == 3.0
        assert run.more("small", "ours", "theirs", "rate") == 7.0
        assert run.ratio("small", "ours", "nobody", "rate") is None

    def test_what_is_absent_is_noted_once_and_under_ci_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Run(about={})
        monkeypatch.delenv("CI", raising=False)
        run.absent("x was not measured")
        run.absent("x was not measured")
        assert (run.notes, run.failures) == ([Remark("x was not measured")], [])
        monkeypatch.setenv("CI", "true")
        run.absent("y was not measured")
        assert run.failures == [Remark("y was not measured")]


def test_database_name_is_replaced_in_the_address() -> None:
    assert with_name("postgresql://u:p%40@h:1/old?x=1", "new") == "postgresql://u:p%40@h:1/new?x=1"
