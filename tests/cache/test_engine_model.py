"""Whatever happens in whatever order: nobody gets a page that is too old, purged, another's, or for other requests."""

from __future__ import annotations

import threading
from typing import Any

from django.http import HttpRequest, HttpResponse
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from django_wsgiperf.cache.annotations import page_cache_of
from django_wsgiperf.cache.purging import purge, purge_all

from . import doors
from .doors import Site
from .fakes import Worker, hasty_interpreter

TTL_S, SWR_S = 60, 30
PATHS = ("/a", "/b")
kinds = st.sampled_from([None, "x", "y"])


class Model(RuleBasedStateMachine):
    """A site whose pages say which version of the data they were made from, and for whom."""

    def __init__(self) -> None:
        super().__init__()
        self.context = doors.site("wsgi", {"MAX_VARIANTS": 2, "SWR_S": 0.0})
        self.site: Site = self.context.__enter__()
        self.version = 0
        self.purged = dict.fromkeys(PATHS, 0)
        self.softly = dict.fromkeys(PATHS, 0)
        self.made_at = {0: self.site.clock.now_s}
        # What is made in the background is made at once, so that the model need not wait.
        self.site.engine.refresher.submit = lambda key, job: bool(job())  # type: ignore[method-assign]
        for path in PATHS:
            self.site.view(path, self.view)

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)

    def view(self, request: HttpRequest) -> HttpResponse:
        notes = page_cache_of(request)
        notes.ttl, notes.swr = TTL_S, SWR_S
        notes.tag(f"page:{request.path}")
        owner = request.COOKIES.get("sessionid", "all")
        response = HttpResponse(f"{self.version} {request.path} {request.headers.get('X-Kind')} {owner}")
        response["Vary"] = "X-Kind, Cookie"
        return response

    @initialize()
    def first(self) -> None:
        assert self.ask("/a", None, None) == 0

    def ask(self, path: str, kind: str | None, owner: str | None, method: str = "GET") -> int:
        fields = {} if kind is None else {"X_Kind": kind}
        if owner is not None:
            fields["Cookie"] = f"sessionid={owner}"
        answer = self.site.get(path, method, **fields)
        assert answer.status == 200
        if method == "HEAD":
            return self.version
        version, where, asked, whose = answer.text.split()
        assert (where, asked, whose) == (path, str(kind), owner or "all")
        return int(version)

    @rule(path=st.sampled_from(PATHS), kind=kinds, owner=st.sampled_from([None, None, "alice", "bob"]))
    def get(self, path: str, kind: str | None, owner: str | None) -> None:
        version = self.ask(path, kind, owner)
        if owner is not None:
            assert version == self.version
        assert version >= self.purged[path]
        # The data of a page may be as old as the page, and that only so old.
        ended_at = self.made_at.get(version + 1, self.site.clock.now_s)
        assert self.site.clock.now_s - ended_at < TTL_S + SWR_S
        if version < self.softly[path]:
            # One that is purged softly is used while it is made anew, and then no more.
            assert self.ask(path, kind, owner) >= self.softly[path]

    @rule(path=st.sampled_from(PATHS), kind=kinds)
    def head(self, path: str, kind: str | None) -> None:
        self.ask(path, kind, None, "HEAD")

    @rule()
    def change(self) -> None:
        self.version += 1
        self.made_at[self.version] = self.site.clock.now_s

    @rule(path=st.sampled_from(PATHS), how=st.sampled_from(["tag", "url", "post"]), soft=st.booleans())
    def purge_one(self, path: str, how: str, soft: bool) -> None:
        if how == "post":
            soft = False
            self.site.post(path)
        elif how == "tag":
            purge(tags=[f"page:{path}"], soft=soft)
        else:
            purge(url=path, soft=soft)
        (self.softly if soft else self.purged)[path] = self.version

    @rule(soft=st.booleans())
    def purge_everything(self, soft: bool) -> None:
        purge_all(soft=soft)
        for path in PATHS:
            (self.softly if soft else self.purged)[path] = self.version

    @rule(seconds=st.sampled_from([1, 20, 59, 60, 61, 100]))
    def wait(self, seconds: int) -> None:
        self.site.clock.advance(seconds)

    @rule()
    def forget(self) -> None:
        self.site.engine.memory.clear()

    @invariant()
    def memory_is_bounded(self) -> None:
        # Two variants of each of two addresses, and the lists of them.
        assert len(self.site.engine.memory) <= 6


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_no_page_from_before_a_purge_is_used_after_it_by_any_thread() -> None:
    with doors.site("wsgi", {"MAX_WAITERS": 50}) as site, hasty_interpreter():
        version = [0]
        purged = [0]
        stopping = threading.Event()

        def view(request: HttpRequest) -> HttpResponse:
            notes = page_cache_of(request)
            notes.ttl = 3600
            notes.tag("books")
            return HttpResponse(str(version[0]))

        site.view("/", view)

        def read() -> int:
            count = 0
            while not stopping.is_set():
                least = purged[0]
                found = int(site.get("/").text)
                assert found >= least, f"version {found} after {least} was purged"
                count += 1
            return count

        readers = [Worker(read) for _ in range(4)]
        try:
            for number in range(1, 151):
                version[0] = number
                purge(tags=["books"])
                purged[0] = number
        finally:
            stopping.set()
        counts: list[Any] = [reader.result(60) for reader in readers]
        assert all(counts)
