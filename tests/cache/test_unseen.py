"""A page that nobody has seen yet takes little, and is for whoever looks what it would have been from the beginning."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from django_wsgiperf.cache.held import Held
from django_wsgiperf.cache.memory import NODE_BYTES
from django_wsgiperf.cache.messages import NO_ANNOTATION
from django_wsgiperf.cache.storage import keep_known
from django_wsgiperf.cache.unseen import Unseen

from . import doors
from .doors import Site, page
from .fakes import Worker, hasty_interpreter


def many(site: Site, count: int, body: str = "page") -> None:
    """Keep so many pages with one head, of which the first is judged by itself."""
    for number in range(count):
        site.view(f"/{number}", lambda request: page(body))
        site.get(f"/{number}")


def held_in(site: Site) -> list[Any]:
    return [value for _, value, _ in site.engine.memory]


def charged(site: Site) -> list[int]:
    return [charge for _, _, charge in site.engine.memory]


def test_a_page_is_made_ready_by_the_first_who_asks_for_it() -> None:
    with doors.site("wsgi") as site:
        many(site, 5)
        assert [type(held) for held in held_in(site)] == [Held, Unseen, Unseen, Unseen, Unseen]
        before = site.get("/3")
        assert before.is_hit
        assert [type(held) for held in held_in(site)] == [Held, Unseen, Unseen, Held, Unseen]
        assert held_in(site)[3].hits == 1
        assert site.get("/3").headers == before.headers


def test_a_page_is_charged_for_what_it_is_when_it_is_ready() -> None:
    with doors.site("wsgi", {"COMPRESS": []}) as site:
        many(site, 12)
        found, before = held_in(site), charged(site)
        assert sum(type(held) is Unseen for held in found) == 11
        assert [charge - NODE_BYTES - len(held.key) for charge, held in zip(before, found, strict=True)] == [
            held.size for held in found
        ]
        assert all(type(held) is Held for held in found)
        assert charged(site) == before


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("varying", [["Content-Length"], ["Content-Length", "X-Request-ID"]])
def test_a_page_is_charged_for_no_less_than_it_takes(seen: bool, varying: list[str]) -> None:
    with doors.site("wsgi", {"MEMORY_BYTES": 2**26}) as site:
        engine = site.engine

        def keep(number: int) -> None:
            body = b"%05d" % number * 100
            values = {"Content-Length": str(len(body)), "X-Request-ID": f"{number}"}
            headers = [("Content-Type", "text/html"), ("Cache-Control", "max-age=60")]
            headers += [(name, values[name]) for name in varying]
            known = engine.heads.known(200, headers, False, "", NO_ANNOTATION)
            if known is not None:
                key = b"%040d" % number
                tags = (f"tag:{number}",)
                keep_known(engine, known, 200, "OK", headers, body, tags, f"/{number}", 0.1, (), None, key, 0)
                held = engine.memory.peek(key)
                assert isinstance(held, Held)
                assert not seen or held.entry.status == 200

        for number in range(3):
            keep(number)
        before = sum(charged(site))
        tracemalloc.start()
        try:
            for number in range(3, 1_003):
                keep(number)
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert len(engine.memory) > 1_000
        assert taken <= sum(charged(site)) - before


def test_threads_that_look_at_once_see_the_same() -> None:
    with doors.site("wsgi", {"JITTER": 0.5}) as site, hasty_interpreter():
        many(site, 40)
        for held in held_in(site)[1:]:
            start = threading.Barrier(4)

            def look(held: Any = held, start: threading.Barrier = start) -> Any:
                start.wait(20)
                return held.calm_until, held.entry, held.status

            looks = [worker.result(60) for worker in [Worker(look) for _ in range(4)]]
            assert looks == [looks[0]] * 4
            assert type(held) is Held


def test_lifetimes_of_pages_kept_together_are_spread() -> None:
    with doors.site("wsgi", {"JITTER": 0.5}) as site:
        many(site, 60)
        lifetimes = {held.entry.lifetime_s for held in held_in(site)[1:]}
        assert len(lifetimes) > 50
        assert 30 <= min(lifetimes) < 40
        assert 50 < max(lifetimes) <= 60


def test_what_it_does_not_have_it_does_not_make_up() -> None:
    with doors.site("wsgi") as site:
        many(site, 3)
        held = held_in(site)[2]
        assert not hasattr(held, "nothing")
        assert type(held) is Unseen


@pytest.mark.parametrize(
    "fields", [{}, {"ETag": '"a"'}, {"X_Request_ID": "1", "Connection": "close"}, {"Vary": "X-Kind"}]
)
def test_a_page_is_the_same_whether_it_was_seen_before(fields: dict[str, Any]) -> None:
    """By the short way, and as a visit keeps it."""

    def kept(door: str) -> list[Any]:
        with doors.site(door, {"JITTER": 0.0}) as site:
            for path in "abcd":
                site.view(f"/{path}", lambda request: page("page", **fields))
                site.get(f"/{path}", X_Kind="a")
            found = [held for held in held_in(site) if isinstance(held, Held)]
            assert len(found) == 4
            return [replace(held.entry, render_s=0.0, route="") for held in found]

    assert kept("wsgi")[2:] == kept("middleware")[2:]


def test_those_who_have_a_session_wait_for_a_page_that_was_purged_before_anybody_saw_it() -> None:
    with doors.site("wsgi") as site:
        many(site, 3)
        engine = site.engine
        # As long as it lies there nobody need be told.
        held = held_in(site)[2]
        assert type(held) is Unseen
        assert not engine.known_shared.is_marked(held.key)
        engine.tags.purge(everything=True)
        led = engine.flights.numbers().led
        assert not site.get("/2", Cookie="sessionid=a").is_hit
        assert engine.flights.numbers().led == led + 1


def test_those_who_have_a_session_wait_for_no_page_that_was_never_fresh() -> None:
    with doors.site("wsgi") as site:
        for path in "abc":
            site.view(f"/{path}", lambda request: page("page", "max-age=0, stale-while-revalidate=60"))
            site.get(f"/{path}")
        engine = site.engine
        assert type(held_in(site)[2]) is Unseen
        engine.tags.purge(everything=True)
        led = engine.flights.numbers().led
        site.get("/c", Cookie="sessionid=a")
        assert (engine.flights.numbers().led, len(engine.known_shared)) == (led, 0)
