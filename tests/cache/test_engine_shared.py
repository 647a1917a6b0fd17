"""Several processes and one Redis: pages are made once, found by all, and purged in all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.http import HttpRequest, HttpResponse

from django_wsgiperf.cache import addresses, tags
from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.cache.entry import MAGIC
from django_wsgiperf.cache.purging import purge, purge_all
from django_wsgiperf.cache.stores.redis import RedisStore

from . import doors
from .doors import Site, page
from .fakes import FakeClock, Worker, eventually
from .private_redis import redis_caches

BACKENDS = ("django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache")


@pytest.fixture
def pair(redis_url: str) -> Iterator[tuple[Site, Site]]:
    """Two processes that share an empty Redis."""
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.flushdb()
    options = {"STORE": "pages", "STORE_TIMEOUT_S": 10.0, "MAX_WAITERS": 50, "WAIT_S": 60.0}
    with doors.site("wsgi", options, CACHES=redis_caches(redis_url)) as one:
        yield one, one.another_process()


def test_missing_page_takes_three_round_trips(pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """A look, one more with the lease, and after it is made the page with the end of the lease."""
    one, _ = pair
    one.view("/", lambda request: page("text", Vary="X-Kind"))
    one.get("/elsewhere")
    trips: list[list[str]] = []
    ask = RedisStore._ask

    def noting(store: RedisStore, *commands: Any, **rest: Any) -> list[Any]:
        if threading.current_thread() is threading.main_thread():
            trips.append([command[0] for command in commands])
        return ask(store, *commands, **rest)

    monkeypatch.setattr(RedisStore, "_ask", noting)
    assert one.get("/").text == "text"
    assert trips == [["ZSCORE", "MGET"], ["SET", "ZSCORE", "MGET"], ["SET", "SET", "EVAL"]]


def test_page_made_by_one_process_is_found_by_another(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page("text", ETag='"1"', Vary="X-Kind"))
    one.get("/", X_Kind="a")
    found = other.get("/", X_Kind="a")
    assert (found.text, found.cache, found.fields["etag"]) == ("text", "hit", '"1"')
    assert other.get("/", X_Kind="a").is_hit
    assert (one.renders("/"), other.engine.counters.store_hits) == (1, 1)
    assert not other.get("/", X_Kind="b").is_hit
    assert one.get("/", X_Kind="b").is_hit


@pytest.mark.parametrize("field", ["Cookie", "Cookie alone", "X-Api-Key", "Authorization"])
def test_nothing_secret_of_a_request_lies_in_the_store(pair: tuple[Site, Site], redis_url: str, field: str) -> None:
    one, other = pair
    name, _, alone = field.partition(" ")

    @cache_response(swr=60, vary_cookies=["token"] if alone else None)
    def view(request: HttpRequest) -> HttpResponse:
        return page(len(request.headers.get(name, "")), "public, max-age=60", Vary=name)

    one.view("/", view)
    fields = [{name: f"token={secret}"} for secret in ("tell-nobody", "nor-this")]
    for sent in fields:
        one.get("/", **sent)
        found = other.get("/", **sent)
        assert (found.is_hit, found.text) == (True, str(len(sent[name]))), "each finds its own all the same"
    one.clock.advance(61)
    # A refresh has no credentials to make such a page with.
    stale = "fwd=stale; stored" if field == "Authorization" else "hit; detail=stale"
    assert one.get("/", **fields[0]).cache == stale
    eventually(lambda: one.get("/", **fields[0]).cache == "hit")
    assert other.get("/", **fields[0]).text == str(len(fields[0][name])), "made anew for who has the same"
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        keys = list(client.scan_iter())
        values = [client.get(key) for key in keys if client.type(key) == b"string"]
    assert len(values) > 2
    everything = b"".join([*keys, *filter(None, values)])
    assert b"tell-nobody" not in everything
    assert b"nor-this" not in everything


def test_what_is_found_elsewhere_has_its_age(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page())
    one.get("/")
    one.clock.advance(45)
    assert other.get("/").fields["age"] == "45"
    one.clock.advance(15)
    assert not other.get("/").is_hit


@pytest.mark.parametrize("ahead_s", [3600, -30])
def test_clock_of_another_host_makes_no_page_last_longer(pair: tuple[Site, Site], ahead_s: int) -> None:
    one, other = pair
    other.clock = other.engine.now = FakeClock(one.clock() - ahead_s)
    one.view("/", lambda request: page(one.renders("/")))
    one.get("/")
    found = other.get("/")
    assert (found.text, found.fields["age"]) == ("1", str(max(0, -ahead_s)))
    other.clock.advance(59 + min(0, ahead_s))
    assert other.get("/").is_hit
    # Redis itself drops it by its own clock, which does not go by what is told here.
    assert one.engine.store is not None
    one.engine.store.delete([one.engine.shelf.primary_of(one.engine.site.request(doors.environ("/"))).hex()])
    other.clock.advance(2)
    assert other.get("/").text == "2"


def test_head_range_and_conditions_are_answered_from_the_shared_store(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page("0123456789"))
    etag = one.get("/").fields["etag"]
    for answer, status in (
        (one.another_process().get("/", "HEAD"), 200),
        (one.another_process().get("/", Range="bytes=0-1"), 206),
        (one.another_process().get("/", If_None_Match=etag), 304),
    ):
        assert (answer.status, answer.is_hit) == (status, True)
    assert one.renders("/") == 1
    assert other.get("/").is_hit


def test_no_vary_search_is_known_to_all(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page(No_Vary_Search='params=("view")'))
    one.get("/?q=1&view=7")
    assert other.get("/?q=1&view=8").is_hit


def test_missing_page_is_made_by_one_of_the_processes(pair: tuple[Site, Site]) -> None:
    one, other = pair
    begun = threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        begun.set()
        # The other process has looked for the page and for the lease, and waits.
        eventually(lambda: other.engine.flights.numbers().led == 1)
        return page(one.renders("/"))

    one.view("/", view)
    first = Worker(lambda: one.get("/").text)
    assert begun.wait(20)
    assert other.get("/").text == "1"
    assert first.result() == "1"
    assert one.renders("/") == 1


@pytest.mark.parametrize("fails", [False, True])
def test_who_waits_for_another_process_leaves_the_pool_when_too_many_wait(pair: tuple[Site, Site], fails: bool) -> None:
    one, other = pair
    asked: list[int] = []
    one.view("/warm", lambda request: page())
    other.get("/warm")
    room = other.engine.flights.room
    room.bound(1)
    room.most[False] = 0
    room._step_aside = lambda: not asked.append(threading.get_ident())  # type: ignore[func-returns-value]
    begun = threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        made = one.renders("/")
        if made == 1:
            begun.set()
            eventually(lambda: other.engine.flights.numbers().waiting == 1)
            if fails:
                return page("failed", "private", status=500)
        else:
            assert not room.turns.acquire(blocking=False), "it has its turn"
        return page(str(made))

    one.view("/", view)
    first = Worker(lambda: one.get("/").text)
    assert begun.wait(20)
    second = Worker(lambda: (other.get("/").text, threading.get_ident()))
    text, thread = second.result()
    assert (text, first.result()) == (("2", "failed") if fails else ("1", "1"))
    assert asked == [thread], "it was asked once, and in the thread that waits"
    assert other.engine.flights.numbers().waiting == 0
    assert room.turns.acquire(blocking=False), "it has given its turn back"


def test_who_waits_for_another_process_takes_no_place_from_those_who_wait_for_him(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/warm", lambda request: page())
    other.get("/warm")
    other.engine.flights.bound(2)
    other.engine.flights.room.brief_s = 0.0
    begun = threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        made = one.renders("/")
        begun.set()
        # As where three of three threads want it, and the server has none to spare.
        eventually(lambda: other.engine.flights.numbers().waiting + other.engine.flights.numbers().alone == 3)
        return page(made)

    one.view("/", view)
    first = Worker(lambda: one.get("/").text)
    assert begun.wait(20)
    crowd = [Worker(lambda: other.get("/").text)]
    eventually(lambda: other.engine.flights.numbers().waiting == 1)
    crowd += [Worker(lambda: other.get("/").text) for _ in range(2)]
    assert [worker.result() for worker in [first, *crowd]] == ["1"] * 4
    assert other.engine.flights.numbers().alone == 0


def test_page_that_takes_longer_than_a_lease_is_tried_by_one_process_more_and_not_by_all(
    pair: tuple[Site, Site],
) -> None:
    one, other = pair
    sites = [one, other, *(one.another_process() for _ in range(4))]
    for each in sites:
        assert each.engine.leases is not None
        each.engine.leases.ttl_s = 0.2
    second = threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        with one.pages.lock:
            mine = one.renders("/")
        if mine > 1:
            second.set()
        assert second.wait(60)
        return page("text")

    one.view("/", view)
    crowd = [Worker(lambda each=each: each.get("/").text) for each in sites]
    assert [worker.result() for worker in crowd] == ["text"] * 6
    # The third would begin after three times as long, and on a busy machine it may.
    assert one.renders("/") in (2, 3)


@pytest.mark.parametrize("soft", [False, True])
def test_page_that_is_made_in_the_background_while_it_is_purged_is_not_used_for_long(
    pair: tuple[Site, Site], soft: bool
) -> None:
    one, other = pair
    begun, may_end = threading.Event(), threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        text = str(one.renders("/"))
        if text == "2":
            # It has read its data by now.
            begun.set()
            assert may_end.wait(60)
        return HttpResponse(text)

    one.view("/", cache_response(ttl=60, swr=600, tags=["book:1"])(view))
    assert (one.get("/").text, other.get("/").text) == ("1", "1")
    one.clock.advance(61)
    assert one.get("/").cache == "hit; detail=stale"
    assert begun.wait(60)
    assert other.engine.tags.purge(["book:1"], soft=soft).everywhere
    may_end.set()
    eventually(lambda: one.engine.counters.refreshes == 1)
    eventually(lambda: one.get("/").text not in "12")
    eventually(lambda: other.get("/").text not in "12")
    assert one.another_process().get("/").text == one.get("/").text
    assert one.renders("/") <= 4


def test_lease_of_a_process_that_died_is_taken_over_by_one(pair: tuple[Site, Site]) -> None:
    one, other = pair
    sites = [one, other, one.another_process()]
    one.view("/", lambda request: page("text"))
    key = one.engine.shelf.primary_of(one.engine.site.request(doors.environ("/"))).hex()
    assert one.engine.store is not None
    assert one.engine.store.add(f"lease:{key}", b"L of the dead", 0.5)
    crowd = [Worker(lambda each=each: each.get("/")) for each in sites]
    answers = [worker.result() for worker in crowd]
    assert {answer.text for answer in answers} == {"text"}
    assert one.renders("/") == 1
    assert sorted(answer.is_hit for answer in answers) == [False, True, True]


def test_process_that_renews_a_page_does_so_for_all(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page(one.renders("/"), "max-age=60, stale-while-revalidate=600"))
    one.get("/"), other.get("/")
    one.clock.advance(61)
    assert one.get("/").text == "1"
    eventually(lambda: one.engine.counters.refreshes == 1)
    assert other.get("/").text == "1"
    # Its refresh finds what the other has made.
    eventually(lambda: other.get("/").text == "2")
    assert one.renders("/") == 2


@pytest.mark.parametrize("soft", [False, True])
def test_purge_reaches_the_other_process(pair: tuple[Site, Site], soft: bool) -> None:
    one, other = pair
    one.view("/", cache_response(ttl=60, tags=["book:1"])(lambda request: HttpResponse(str(one.renders("/")))))
    assert (one.get("/").text, other.get("/").text) == ("1", "1")
    assert purge(tags=["book:1"], soft=soft).everywhere
    eventually(lambda: other.get("/").text == "2")
    assert one.get("/").text == "2"


def test_purge_of_an_address_and_of_everything_reaches_the_other_process(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page(one.renders("/")))
    for number, order in enumerate((lambda: purge(url="/"), purge_all), start=2):
        one.get("/"), other.get("/")
        order()
        eventually(lambda expected=str(number): other.get("/").text == expected)


def test_unsafe_request_reaches_the_other_process(pair: tuple[Site, Site]) -> None:
    one, other = pair
    one.view("/", lambda request: page(one.renders("/")))
    one.get("/"), other.get("/")
    # Known to the store alone: this process has forgotten it.
    one.engine.memory.clear()
    one.post("/")
    eventually(lambda: not other.get("/").is_hit or other.get("/").text != "1")


def test_page_from_before_a_purge_is_not_taken_from_the_store(pair: tuple[Site, Site]) -> None:
    """It is stored after the purge, by a process that had not heard of it yet."""
    one, other = pair

    def view(request: HttpRequest) -> HttpResponse:
        text = str(one.renders("/"))
        if text == "1":
            assert purge(tags=["book:1"]).everywhere
        return HttpResponse(text)

    one.view("/", cache_response(ttl=60, tags=["book:1"])(view))
    assert other.get("/").text == "1"
    assert one.get("/").text == "2"
    assert one.another_process().get("/").text == "2"


@pytest.mark.parametrize("version", [MAGIC[3] - 1, MAGIC[3] + 1])
def test_page_of_another_version_is_made_anew_and_each_has_its_own(pair: tuple[Site, Site], version: int) -> None:
    """During a deployment both use the store. What they overwrite is the other's, and never taken for their own."""
    one, other = pair
    one.view("/", lambda request: page(one.renders("/")))
    one.get("/")
    store = one.engine.store
    assert store is not None
    key = one.engine.shelf.primary_of(one.engine.site.request(doors.environ("/"))).hex()

    def stored() -> bytes:
        found = store.fetch([key], 0)
        assert found is not None
        assert found[0][0] is not None
        return found[0][0]

    theirs = MAGIC[:3] + bytes([version]) + stored()[4:]
    assert store.set(key, theirs, 60)
    assert (other.get("/").text, one.get("/").text) == ("2", "1")
    assert stored()[:4] == MAGIC
    assert one.another_process().get("/").text == "2"


@pytest.mark.parametrize("version", ["2", "4"])
def test_purge_of_an_address_by_a_process_of_another_version_misses_no_page(
    pair: tuple[Site, Site], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    one.view("/", lambda request: page(one.renders("/")))
    assert (one.get("/").text, other.get("/").text) == ("1", "1")
    with monkeypatch.context() as patch:
        patch.setattr(addresses, "_PATH", f"{tags.ADDRESS_MARK}{version}p")
        patch.setattr(addresses, "_WHOLE", f"{tags.ADDRESS_MARK}{version}u")
        assert purge(url="/").everywhere
    eventually(lambda: other.get("/").text == "2")
    assert one.get("/").text == "2"


def test_private_pages_take_no_lease_after_the_first(pair: tuple[Site, Site], monkeypatch: Any) -> None:
    one, _ = pair
    one.view("/", lambda request: page(cache_control="private"))
    one.get("/")
    asked = []
    store = one.engine.store
    assert store is not None
    monkeypatch.setattr(store, "add", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(store, "fetch", lambda *arguments: asked.append(arguments))
    for _ in range(3):
        one.get("/")
    assert asked == []


def test_searches_that_cannot_be_shared_ask_the_store_no_more(pair: tuple[Site, Site], monkeypatch: Any) -> None:
    one, _ = pair
    one.view("/search", lambda request: page(cache_control="max-age=60" if request.GET["q"] == "top" else None))
    one.get("/search?q=0")
    store = one.engine.store
    assert store is not None
    asked = []
    with monkeypatch.context() as patch:
        for name in ("add", "fetch", "set"):
            patch.setattr(store, name, lambda *arguments: asked.append(arguments))
        for number in range(1, 4):
            one.get(f"/search?q={number}")
        assert asked == []
    # One that can be shared is kept all the same, and changes their mind.
    one.get("/search?q=top")
    assert one.get("/search?q=top").is_hit
    assert one.another_process().get("/search?q=top").is_hit


def test_sites_with_a_prefix_of_their_own_have_pages_and_purges_of_their_own(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.flushdb()
    found = []
    for prefix in ("one", "two words", "one"):
        options = {"STORE": "pages", "STORE_TIMEOUT_S": 10.0, "PREFIX": prefix}
        with doors.site("wsgi", options, CACHES=redis_caches(redis_url)) as site:
            site.view("/", lambda request: page())
            found.append(site.get("/").is_hit)
            if prefix == "two words":
                purge_all()
    assert found == [False, False, True]


@pytest.mark.parametrize("backend", BACKENDS)
def test_either_redis_backend_will_do(redis_url: str, backend: str) -> None:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        client.flushdb()
    with doors.site("wsgi", {"STORE": "pages", "STORE_TIMEOUT_S": 5.0}, CACHES=redis_caches(redis_url, backend)) as one:
        one.view("/", lambda request: page())
        one.get("/")
        assert one.another_process().get("/").is_hit


def test_million_pages_are_purged_by_one_tag_without_touching_them(pair: tuple[Site, Site]) -> None:
    """The cost of a purge does not depend on what it hits: no page is looked at."""
    one, _ = pair
    one.view("/", cache_response(ttl=60, tags=["books"])(lambda request: HttpResponse()))
    one.get("/")
    looked = one.engine.memory.numbers()
    assert purge(tags=["books"]).everywhere
    assert one.engine.memory.numbers() == looked


def test_numbers_tell_of_the_store(pair: tuple[Site, Site]) -> None:
    one, _ = pair
    one.view("/", lambda request: page())
    one.get("/")
    told = one.engine.numbers()["store"]
    assert (told["title"], told["is_reachable"]) == ("CACHES['pages']", True)
    assert told["link"]["failures"] == 0
