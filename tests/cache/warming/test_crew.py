"""The crew of threads: every page in every variant, once, a bounded number at a time, and nothing left behind."""

from __future__ import annotations

import socket
import threading

import pytest

from django_wsgiperf.cache.warming.address import Page
from django_wsgiperf.cache.warming.crew import Tally, warm
from django_wsgiperf.cache.warming.outcome import Outcome

from .sites import Scripted, read_request, reply, scripted, site

STORED = (200, {"Cache-Status": "wsgiperf; fwd=uri-miss; stored"}, b"page")
HIT = (200, {"Cache-Status": "wsgiperf; hit; ttl=9"}, b"page")
REFUSED = (200, {"Cache-Status": "wsgiperf; fwd=uri-miss; detail=set-cookie"}, b"page")


def crew_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("wsgiperf-warm")]


def test_every_page_is_asked_for_in_every_variant_once() -> None:
    with site({f"/{number}": STORED for number in range(20)}) as served:
        pages = [Page("http", served.origin.removeprefix("http://"), f"/{number}") for number in range(20)]
        variants = [{"Accept-Encoding": coding} for coding in ("gzip", "br")]
        tally = warm(pages, variants, place=None, concurrency=4, timeout_s=20)
        asked = sorted((path, fields["accept-encoding"]) for path, fields in served.requests)
    assert asked == sorted((page.target, coding) for page in pages for coding in ("gzip", "br"))
    assert tally.counts == {Outcome.WARMED: 40}
    assert crew_threads() == []


def test_outcomes_are_counted_with_their_reasons() -> None:
    pages = {"/a": STORED, "/b": HIT, "/c": REFUSED, "/d": REFUSED, "/e": (200, {}, b""), "/f": (500, {}, b"")}
    with site(pages) as served:
        authority = served.origin.removeprefix("http://")
        tally = warm(
            [Page("http", authority, path) for path in [*pages, "/none"]],
            [{}],
            place=None,
            concurrency=3,
            timeout_s=20,
        )
        assert tally.counts == {
            Outcome.WARMED: 1,
            Outcome.ALREADY: 1,
            Outcome.REFUSED: 2,
            Outcome.UNTOLD: 1,
            Outcome.FAILED: 2,
        }
        assert tally.refusals == {"set-cookie": 2}
        assert tally.errors == {"500 Internal Server Error": 1, "404 Not Found": 1}
        assert sorted(tally.failures) == [
            (f"{served.origin}/f", "500 Internal Server Error"),
            (f"{served.origin}/none", "404 Not Found"),
        ]


def test_so_many_at_a_time_and_no_more() -> None:
    lock = threading.Lock()
    at_work, most = 0, 0
    all_here = threading.Barrier(3)

    def script(connection: socket.socket, scripted_site: Scripted) -> None:
        nonlocal at_work, most
        while read_request(connection):
            with lock:
                at_work += 1
                most = max(most, at_work)
            # Three come together each time, or this breaks the barrier and the test.
            all_here.wait(timeout=30)
            with lock:
                at_work -= 1
            all_here.wait(timeout=30)
            connection.sendall(reply())

    with scripted(script) as served:
        pages = [Page("http", "shop.example", f"/{number}") for number in range(9)]
        tally = warm(pages, [{}], place=served.place, concurrency=3, timeout_s=30)
    assert tally.counts == {Outcome.UNTOLD: 9}
    assert most == 3


def test_progress_is_told_after_each_answer() -> None:
    seen: list[int] = []
    with site({"/a": STORED}) as served:
        page = Page("http", served.origin.removeprefix("http://"), "/a")
        warm(
            [page], [{}] * 5, place=None, concurrency=2, timeout_s=20, on_progress=lambda tally: seen.append(tally.done)
        )
    assert seen == [1, 2, 3, 4, 5]


def test_an_interruption_ends_the_threads_and_asks_for_no_more() -> None:
    def interrupt(tally: Tally) -> None:
        raise KeyboardInterrupt

    with site({"/a": STORED}) as served:
        page = Page("http", served.origin.removeprefix("http://"), "/a")
        with pytest.raises(KeyboardInterrupt):
            warm([page], [{}] * 10_000, place=None, concurrency=2, timeout_s=20, on_progress=interrupt)
        assert crew_threads() == []
        assert len(served.requests) < 10_000


def test_what_goes_wrong_in_a_thread_is_raised_here() -> None:
    def pages() -> object:
        yield Page("http", "127.0.0.1:1", "/")
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        warm(pages(), [{}], place=None, concurrency=2, timeout_s=20)  # type: ignore[arg-type]
    assert crew_threads() == []


def test_nothing_to_do() -> None:
    assert warm([], [{}], place=None, concurrency=2, timeout_s=20).done == 0
