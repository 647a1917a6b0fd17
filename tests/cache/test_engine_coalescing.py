"""Many requests for one missing page: one makes it, the others wait, and nobody waits for what cannot be shared."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from django.http import HttpRequest, HttpResponse

from . import doors
from .doors import Answer, Site, page
from .fakes import Worker, eventually

CLIENTS = 100
PATIENT = {"MAX_WAITERS": 200, "WAIT_S": 60.0}


def ask_at_once(site: Site, targets: list[str], **headers: str) -> list[Answer]:
    """All of them, none after another."""
    if site.door == "async":

        async def gather() -> list[Answer]:
            fields = {"Host": doors.HOST, **headers}
            return await asyncio.gather(*(site.aget(target, "GET", b"", fields) for target in targets))

        return asyncio.run(gather())
    workers = [Worker(lambda target=target: site.get(target, **headers)) for target in targets]
    return [worker.result(60) for worker in workers]


def waiting(site: Site) -> int:
    return site.engine.flights.numbers().waiting


def second_with_nine_waiting(site: Site) -> Callable[[HttpRequest], HttpResponse]:
    """A view of `/`, of which the second rendering ends when nine requests wait for it."""

    def view(request: HttpRequest) -> HttpResponse:
        if site.renders("/") > 1:
            eventually(lambda: waiting(site) == 9)
        return page(site.renders("/"))

    return view


def test_hundred_clients_on_one_missing_page_make_it_once(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            eventually(lambda: waiting(site) == CLIENTS - 1)
            return page(f"made {site.renders('/')} times")

        site.view("/", view)
        answers = ask_at_once(site, ["/"] * CLIENTS)
        assert {answer.text for answer in answers} == {"made 1 times"}
        assert site.renders("/") == 1
        told = sorted(answer.cache for answer in answers)
        assert told == ["fwd=uri-miss; collapsed"] * (CLIENTS - 1) + ["fwd=uri-miss; stored"]
        assert site.engine.counters.collapsed == CLIENTS - 1


def test_expired_page_is_made_once_too(door: str) -> None:
    with doors.site(door, PATIENT) as site:
        site.view("/", second_with_nine_waiting(site))
        site.get("/")
        site.clock.advance(61)
        assert {answer.text for answer in ask_at_once(site, ["/"] * 10)} == {"2"}


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_page_that_cannot_be_shared_is_made_for_each_and_then_waited_for_by_nobody(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            with site.pages.lock:
                mine = site.renders("/")
            if mine == 1:
                eventually(lambda: waiting(site) == 9)
            elif mine > 10:
                # All of them run at once, since none waits.
                eventually(lambda: site.renders("/") == 20)
            return page(str(request.META["HTTP_X_NAME"]), "private, max-age=60")

        site.view("/", view)
        for _ in range(2):
            workers = [
                Worker(lambda name=f"n{number}": (name, site.get("/", X_Name=name).text)) for number in range(10)
            ]
            for worker in workers:
                name, text = worker.result(60)
                assert name == text
        assert site.renders("/") == 20


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_crowd_beyond_the_bound_makes_pages_of_its_own_when_one_takes_long(door: str) -> None:
    with doors.site(door, {"MAX_WAITERS": 3, "WAIT_S": 60.0}) as site:
        full = threading.Event()

        def is_full() -> bool:
            # The leader and all that lost their patience are here; three wait.
            if site.renders("/") == 7 and waiting(site) == 3:
                full.set()
            return full.is_set()

        def view(request: HttpRequest) -> HttpResponse:
            eventually(is_full)
            return page()

        site.view("/", view)
        answers = ask_at_once(site, ["/"] * 10)
        assert [answer.status for answer in answers] == [200] * 10
        assert site.renders("/") == 7


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_crowd_beyond_the_bound_waits_for_a_page_that_comes_at_once(door: str) -> None:
    with doors.site(door, {"MAX_WAITERS": 3, "WAIT_S": 60.0}) as site:
        site.engine.flights.room.brief_s = 60.0

        def view(request: HttpRequest) -> HttpResponse:
            eventually(lambda: waiting(site) == 9)
            return page()

        site.view("/", view)
        assert {answer.status for answer in ask_at_once(site, ["/"] * 10)} == {200}
        assert site.renders("/") == 1


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_when_the_first_fails_another_makes_it(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            with site.pages.lock:
                mine = site.renders("/")
            if mine == 1:
                eventually(lambda: waiting(site) == 9)
                raise RuntimeError("the first fails")
            return page("made")

        site.view("/", view)
        answers = ask_at_once(site, ["/"] * 10)
        assert sorted(answer.status for answer in answers) == [200] * 9 + [500]
        assert site.renders("/") == 2


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_who_waited_for_another_variant_gets_their_own(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            if site.renders("/") == 1:
                eventually(lambda: waiting(site) == 4)
            return page(request.META["HTTP_X_KIND"], Vary="X-Kind")

        site.view("/", view)
        kinds = ["a", "a", "a", "b", "b"]
        workers = [Worker(lambda kind=kind: (kind, site.get("/", X_Kind=kind).text)) for kind in kinds]
        assert all(kind == text for kind, text in (worker.result(60) for worker in workers))
        assert site.renders("/") == 2


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_all_who_wait_get_the_stale_page_when_the_application_fails(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            if site.renders("/") == 1:
                return page("old", "max-age=60, stale-if-error=60")
            eventually(lambda: waiting(site) == 9)
            return page("down", None, status=503)

        site.view("/", view)
        site.get("/")
        site.clock.advance(61)
        assert [answer.text for answer in ask_at_once(site, ["/"] * 10)] == ["old"] * 10
        assert site.renders("/") == 2


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_those_who_are_logged_in_do_not_keep_others_from_sharing(door: str) -> None:
    with doors.site(door, PATIENT) as site:
        site.view("/", lambda request: page(request.COOKIES.get("sessionid", "anybody"), Vary="Cookie"))
        for _ in range(3):
            assert site.get("/", Cookie="sessionid=alice").text == "alice"
        primary = site.engine.shelf.primary_of(site.engine.site.request(doors.environ("/")))
        assert not site.engine.hit_for_miss.is_marked(primary)
        assert not site.engine.known_shared.is_marked(primary)


def test_those_who_have_a_session_wait_for_nobody_where_no_page_is_known_to_be_everybodys(door: str) -> None:
    with doors.site(door, PATIENT) as site:
        together = threading.Barrier(2, timeout=60)

        def view(request: HttpRequest) -> HttpResponse:
            if door != "async":
                together.wait()
            return page(request.COOKIES["sessionid"], "private")

        site.view("/", view)
        answers = ask_at_once(site, ["/"] * 2, Cookie="sessionid=alice")
        assert {answer.text for answer in answers} == {"alice"}
        assert site.engine.flights.numbers().led == 0


def test_those_who_have_a_session_wait_for_a_page_that_was_everybodys(door: str) -> None:
    with doors.site(door, PATIENT) as site:
        site.view("/", second_with_nine_waiting(site))
        assert site.get("/", Cookie="sessionid=alice").text == "1"
        site.clock.advance(61)
        answers = ask_at_once(site, ["/"] * 10, Cookie="sessionid=bob")
        assert {answer.text for answer in answers} == {"2"}


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_as_long_as_answers_cannot_be_shared_nobody_waits_for_them(door: str) -> None:
    with doors.site(door, {**PATIENT, "HIT_FOR_MISS_S": 10.0}) as site:
        site.view("/", lambda request: page("mine", "private"))
        site.get("/")
        marked = site.engine.hit_for_miss.is_marked
        primary = site.engine.shelf.primary_of(site.engine.site.request(doors.environ("/")))
        for _ in range(5):
            site.clock.advance(6)
            assert marked(primary)
            site.get("/")
        site.view("/", lambda request: page("everybody's"))
        assert site.get("/").cache == "fwd=uri-miss; stored"
        assert not marked(primary)


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_view_that_asks_for_its_own_page_does_not_wait_for_itself(door: str) -> None:
    with doors.site(door, PATIENT) as site:
        site.view("/", lambda request: page(site.get("/").text if site.renders("/") == 1 else "inner"))
        assert site.get("/").text == "inner"


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_when_the_first_takes_long_a_second_one_tries_and_whoever_is_done_first_serves_all(door: str) -> None:
    with doors.site(door, {"MAX_WAITERS": 50, "WAIT_S": 0.05}) as site:
        others, served = threading.Event(), threading.Event()

        def view(request: HttpRequest) -> HttpResponse:
            with site.pages.lock:
                mine = site.renders("/")
            if mine == 1:
                assert served.wait(60)
                return page("slow")
            eventually(others.is_set)
            return page("quick")

        site.view("/", view)
        first = Worker(lambda: site.get("/").text)
        eventually(lambda: site.renders("/") == 1)
        crowd = [Worker(lambda: site.get("/").text) for _ in range(20)]
        eventually(lambda: site.renders("/") > 1)
        others.set()
        assert {worker.result(60) for worker in crowd} == {"quick"}
        assert site.renders("/") < 6
        assert site.engine.flights.numbers().alone == 0
        served.set()
        assert first.result() == "slow"


def test_a_crowd_that_waits_for_longer_than_it_would_makes_the_page_a_few_times(door: str) -> None:
    with doors.site(door, {"MAX_WAITERS": 200, "WAIT_S": 0.05}) as site:

        def view(request: HttpRequest) -> HttpResponse:
            # Not so many renders: behind the asynchronous door they come one after the other.
            eventually(lambda: site.engine.flights.numbers().promoted >= 2)
            return page()

        site.view("/", view)
        assert {answer.status for answer in ask_at_once(site, ["/"] * CLIENTS)} == {200}
        assert site.renders("/") <= 6
        assert site.engine.flights.numbers().alone == 0


@pytest.mark.parametrize("door", ["wsgi", "middleware"])
def test_nobody_waits_for_a_page_that_is_asked_about_each_time(door: str) -> None:
    with doors.site(door, PATIENT) as site:

        def view(request: HttpRequest) -> HttpResponse:
            if site.renders("/") > 1:
                # All of them at once.
                eventually(lambda: site.renders("/") == 11)
            return page("text", "max-age=0, must-revalidate", ETag='"1"')

        site.view("/", view)
        site.get("/")
        assert {answer.text for answer in ask_at_once(site, ["/"] * 10)} == {"text"}
        assert site.renders("/") == 11


@pytest.mark.parametrize(("told", "bound"), [(4, 4), (0, 0), (None, 32)])
def test_as_many_may_wait_as_the_server_can_spare(told: int | None, bound: int) -> None:
    with doors.site("wsgi") as site:
        site.engine._waiters = lambda environ: told
        site.view("/", lambda request: page())
        site.get("/")
        assert site.engine.flights.room.most[False] == bound
