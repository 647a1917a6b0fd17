"""How results of the suite are judged and told, and what the command is made of. Runs neither Node.js nor a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance import reasons, report, scoring
from tests.conformance.peers import PEERS, Peer
from tests.conformance.report import Measured
from tests.conformance.scoring import OPTIMAL, REQUIRED, Score, Verdict
from tests.conformance.suite import Case, Outcome

FAULT = ["Assertion", "Response 2 comes from cache"]


def outcome(**results: bool | list[str]) -> Outcome:
    """Of three tests, of which the last rests on the second and that on the first."""
    cases = (Case("a", "", OPTIMAL, ()), Case("b", "", REQUIRED, ("a",)), Case("c", "", REQUIRED, ("b",)))
    return Outcome(cases, results)


def test_a_test_that_rests_on_one_that_was_not_passed_is_untested_whatever_it_gave() -> None:
    found = scoring.verdicts(outcome(a=FAULT, b=True, c=FAULT))
    assert list(found.values()) == [Verdict.FAILED, Verdict.UNTESTED, Verdict.UNTESTED]
    assert scoring.score(outcome(a=True, b=True, c=FAULT), REQUIRED) == Score(passed=1, failed=1, untested=0)


def test_a_test_that_gave_nothing_is_not_passed() -> None:
    assert scoring.not_passed(outcome(a=True, b=True), REQUIRED) == ["c"]


def test_what_is_needed_and_not_run_is_no_fault_of_the_test() -> None:
    alone = Outcome((Case("c", "", REQUIRED, ("b",)),), {"c": True})
    assert scoring.not_passed(alone, REQUIRED) == []


def test_a_second_run_takes_the_place_of_the_first_where_it_has_something_to_say() -> None:
    both = scoring.merged(outcome(a=True, b=FAULT, c=True), Outcome((), {"b": True}))
    assert scoring.not_passed(both, REQUIRED) == []


def test_what_has_no_reason_is_told_with_what_was_wrong() -> None:
    first = outcome(a=FAULT, b=True, c=True)
    found, required, optimal = report.explained(first)
    assert (found, required, optimal) == ({}, ["b", "c"], ["a"])
    assert scoring.why(first, "a") == FAULT[1]


def test_a_reason_covers_the_tests_that_it_names_and_no_others() -> None:
    stale = reasons.of("stale-close-must-revalidate")
    assert stale is not None
    assert stale is reasons.of("stale-close-s-maxage=2")
    assert reasons.of("stale-close") is None
    assert reasons.of("cc-resp-no-store") is None


def test_a_row_has_a_cell_under_each_head() -> None:
    row = Measured("ours", "1.0", outcome(a=True, b=True, c=FAULT)).row()
    assert dict(zip(report.HEAD, row, strict=True)) == {
        "cache": "ours",
        "version": "1.0",
        "required: passed": "1",
        "failed": "1",
        "untested": "0",
        "optimal: passed": "1",
        "of": "1",
    }


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_another_cache_is_kept_within_its_folder_and_this_machine(peer: Peer, tmp_path: Path) -> None:
    command = peer.make("/usr/sbin/it", tmp_path, 20001, 20002)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    said = "\n".join([*written, " ".join(command)])
    assert command[0] == "/usr/sbin/it"
    assert str(tmp_path) in " ".join(command)
    assert "127.0.0.1" in said
    assert "20001" in said
    assert "20002" in said
    assert re.findall(r"\{[a-z]+\}", said) == []
