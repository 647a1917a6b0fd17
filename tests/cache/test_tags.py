"""Purges hold in this process when they return, in others when they hear of them, and for pages made from old data."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from django_wsgiperf.cache.store import GuardedStore
from django_wsgiperf.cache.stores import open_store
from django_wsgiperf.cache.tags import ADDRESS_MARK, ADDRESS_VERSION, Tags, Verdict

from .fakes import FakeClock, FakeLog, Worker, eventually, hasty_interpreter
from .private_redis import redis_caches


@dataclass(frozen=True)
class Page:
    """As much of an entry as purges look at, and which state of the data it shows."""

    sequence: int
    tags: tuple[str, ...] = ("book",)
    version: int = 0


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


def process(log: FakeLog, **options: Any) -> Tags:
    """The purges of one of several processes, without its thread."""
    tags = Tags(GuardedStore(log), **options)
    assert tags.refresh()
    return tags


# -- in one process


@pytest.mark.parametrize("shared", [False, True])
def test_a_purge_holds_when_it_returns(log: FakeLog, shared: bool) -> None:
    tags = process(log) if shared else Tags()
    page, other = Page(tags.sequence), Page(tags.sequence, ("author",))
    assert tags.judge(page) is Verdict.VALID
    purged = tags.purge(["book"])
    assert purged.everywhere
    assert tags.judge(page) is Verdict.GONE
    assert tags.judge(other) is Verdict.VALID
    assert tags.judge(Page(tags.sequence)) is Verdict.VALID


@pytest.mark.parametrize("shared", [False, True])
def test_a_soft_purge_makes_stale_and_a_hard_one_after_it_makes_gone(log: FakeLog, shared: bool) -> None:
    tags = process(log) if shared else Tags()
    page = Page(tags.sequence)
    tags.purge(["book"], soft=True)
    assert tags.judge(page) is Verdict.STALE
    tags.purge(["book"])
    assert tags.judge(page) is Verdict.GONE
    tags.purge(["book"], soft=True)
    assert tags.judge(page) is Verdict.GONE


@pytest.mark.parametrize("shared", [False, True])
def test_everything_can_be_purged(log: FakeLog, shared: bool) -> None:
    tags = process(log) if shared else Tags()
    page = Page(tags.sequence, ())
    tags.purge(everything=True, soft=True)
    assert tags.judge(page) is Verdict.STALE
    assert tags.judge(Page(tags.sequence, ())) is Verdict.VALID
    tags.purge(everything=True)
    assert tags.judge(page) is Verdict.GONE


def test_a_page_begun_before_a_purge_and_stored_after_it_is_not_valid(log: FakeLog) -> None:
    tags = process(log)
    begun = tags.sequence
    tags.purge(["book"])
    assert tags.judge(Page(begun)) is Verdict.GONE


def test_more_tags_than_one_order_holds_are_all_purged(log: FakeLog) -> None:
    tags = process(log)
    pages = [Page(tags.sequence, (f"t{number}",)) for number in range(1_700)]
    tags.purge(f"t{number}" for number in range(1_700))
    assert {tags.judge(page) for page in pages} == {Verdict.GONE}


def test_a_purge_of_no_tag_purges_nothing(log: FakeLog) -> None:
    tags = process(log)
    page = Page(tags.sequence)
    assert tags.purge([]).everywhere
    assert tags.judge(page) is Verdict.VALID


def test_the_map_is_bounded_and_forgets_on_the_safe_side() -> None:
    tags = Tags(max_tags=100)
    pages = []
    for number in range(1_000):
        pages.append(Page(tags.sequence, (f"t{number}",)))
        tags.purge([f"t{number}"], soft=number % 2 == 0)
        assert tags.numbers()["tags"] <= 100
    for number, page in enumerate(pages):
        assert tags.judge(page) in ((Verdict.STALE, Verdict.GONE) if number % 2 == 0 else (Verdict.GONE,))
    assert tags.judge(Page(tags.sequence, ("t1",))) is Verdict.VALID


# -- between processes


def test_another_process_learns_of_a_purge_when_it_asks(log: FakeLog) -> None:
    one, two = process(log), process(log)
    page = Page(two.sequence)
    one.purge(["book"])
    assert two.judge(page) is Verdict.VALID
    assert two.refresh()
    assert two.judge(page) is Verdict.GONE


def test_a_page_from_the_shared_store_is_judged_with_all_purges_there_are(log: FakeLog) -> None:
    one, two = process(log), process(log)
    known = two.sequence
    page = Page(known)
    one.purge(["book"])
    fetched = GuardedStore(log).fetch(["page"], known)
    assert fetched is not None
    assert two.catch_up(fetched[1], known)
    assert two.judge(page) is Verdict.GONE


def test_catching_up_asks_nothing_when_nothing_is_new(log: FakeLog) -> None:
    tags = process(log)
    asked = log.asked
    assert tags.catch_up(tags.sequence, tags.sequence)
    # Another thread has read on since the look-up.
    known = tags.sequence
    tags.purge(["book"])
    assert tags.catch_up(known, known)
    assert log.asked == asked + 1


def test_what_cannot_be_judged_is_said_to_be_so(log: FakeLog) -> None:
    one, two = process(log), process(log)
    known = two.sequence
    one.purge(["book"])
    log.down = True
    assert not two.catch_up(known + 1, known)
    assert not two.catch_up(None, known)


@pytest.mark.parametrize("soft", [False, True])
def test_a_purge_of_an_address_by_another_version_is_one_of_everything(log: FakeLog, soft: bool) -> None:
    tags, theirs = [Tags(GuardedStore(log)) for _ in range(2)]
    tags.refresh(), theirs.refresh()
    own = f"{ADDRESS_MARK}{ADDRESS_VERSION}p:6:/books"
    page = Page(tags.sequence)
    theirs.purge([own], soft=soft)
    tags.refresh()
    assert tags.judge(page) is Verdict.VALID
    theirs.purge([f"{ADDRESS_MARK}99p:who knows"], soft=soft)
    tags.refresh()
    assert tags.judge(page) is (Verdict.STALE if soft else Verdict.GONE)
    assert tags.judge(Page(tags.sequence)) is Verdict.VALID, "what is made after it is not hit"
    assert tags.numbers()["tags"] == 1


def test_a_store_that_has_lost_its_memory_makes_all_that_was_before_gone(log: FakeLog) -> None:
    one, two = process(log), process(log)
    one.purge(["other"])
    two.refresh()
    page = Page(two.sequence)
    log.forget()
    fetched = log.fetch([], two.sequence)
    assert two.catch_up(fetched[1], two.sequence)
    assert two.judge(page) is Verdict.GONE
    one.refresh()
    assert one.judge(page) is Verdict.GONE
    assert one.judge(Page(one.sequence)) is Verdict.VALID


def test_before_the_first_word_of_the_store_pages_are_kept_and_after_it_not_trusted(log: FakeLog) -> None:
    log.down = True
    tags = Tags(GuardedStore(log, clock=FakeClock()))
    assert not tags.refresh()
    page = Page(tags.sequence)
    assert tags.judge(page) is Verdict.VALID
    assert tags.unconfirmed_s() == float("inf")
    log.down = False
    assert tags.refresh()
    assert tags.judge(page) is Verdict.GONE


# -- while the store is out of order


@pytest.mark.parametrize("trouble", ["down", "full"])
def test_a_purge_without_the_store_holds_here_and_is_passed_on(log: FakeLog, trouble: str) -> None:
    clock = FakeClock()
    one, two = Tags(GuardedStore(log, clock=clock), clock=clock), process(log)
    one.refresh()
    page, theirs = Page(one.sequence), Page(two.sequence)
    setattr(log, trouble, True)
    purged = one.purge(["book"])
    assert not purged.everywhere
    assert one.judge(page) is Verdict.GONE
    assert one.numbers()["pending"] == 1
    setattr(log, trouble, False)
    clock.advance(10)
    assert one.refresh()
    assert one.numbers()["pending"] == 0
    two.refresh()
    assert two.judge(theirs) is Verdict.GONE


@pytest.mark.parametrize("trouble", ["down", "full"])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_what_is_made_here_after_a_purge_without_the_store_is_used(
    log: FakeLog, trouble: str, everything: bool, soft: bool
) -> None:
    clock = FakeClock()
    one, two = Tags(GuardedStore(log, clock=clock), clock=clock), process(log)
    one.refresh()
    purged = Verdict.STALE if soft else Verdict.GONE
    order = partial(one.purge, () if everything else ["book"], everything=everything, soft=soft)
    before = Page(one.sequence)
    setattr(log, trouble, True)
    order()
    after = Page(one.sequence)
    assert (one.judge(before), one.judge(after)) == (purged, Verdict.VALID)
    # From the store it has its number alone, and so has what another process made.
    assert one.judge(Page(int(one.sequence))) is purged
    order()
    assert one.judge(after) is purged, "and again"
    latest = Page(one.sequence)
    setattr(log, trouble, False)
    two.purge(["author"])
    clock.advance(10)
    assert one.refresh()
    assert one.judge(latest) is purged, "it has a number now, that others judge by"
    assert one.judge(Page(one.sequence)) is Verdict.VALID


def test_a_page_made_during_the_outage_never_passes_for_newer_than_a_purge_by_others(log: FakeLog) -> None:
    one, two = process(log), process(log)
    log.down = True
    one.purge(["author"])
    page = Page(one.sequence)
    log.down = False
    # The number that this purge gets is the one that the other process would have given to its own.
    two.purge(["book"])
    one.refresh()
    assert one.judge(page) is Verdict.GONE


def test_more_purges_than_can_be_kept_become_one_of_everything(log: FakeLog) -> None:
    clock = FakeClock()
    one, two = Tags(GuardedStore(log, clock=clock), clock=clock), process(log)
    one.refresh()
    pages = [Page(two.sequence, (f"t{number}",)) for number in range(30_000)]
    log.down = True
    one.purge(f"t{number}" for number in range(30_000))
    assert one.numbers()["pending"] <= 10_001
    log.down = False
    clock.advance(10)
    one.refresh()
    two.refresh()
    assert {two.judge(page) for page in pages} == {Verdict.GONE}


def test_how_long_nothing_was_heard_is_known(log: FakeLog) -> None:
    clock = FakeClock()
    tags = Tags(GuardedStore(log, clock=clock), clock=clock)
    tags.refresh()
    log.down = True
    clock.advance(7)
    tags.refresh()
    assert tags.unconfirmed_s() == 7
    assert Tags().unconfirmed_s() == 0


class PurgeMachine(RuleBasedStateMachine):
    """Any sequence of renders, purges, refreshes, outages and losses in three processes, against what really happened.

    Time is counted in events. A purge is known to a process that ordered it, or has refreshed since the log has it."""

    @initialize(max_tags=st.sampled_from([1, 3, 20_000]))
    def begin(self, max_tags: int) -> None:
        self.clock = FakeClock()
        self.log = FakeLog()
        self.lossless = max_tags == 20_000
        self.tags = [Tags(GuardedStore(self.log, clock=self.clock), max_tags=max_tags) for _ in range(3)]
        self.now = 0
        self.pages: list[tuple[int, int, Page]] = []
        #: When, by whom, what, whether hard, and when it came into the log.
        self.purges: list[dict[str, Any]] = []
        self.refreshed = [-1, -1, -1]
        for number in range(3):
            self.refresh(number)

    def _tick(self) -> int:
        self.now += 1
        # The breakers are tested elsewhere.
        self.clock.advance(10)
        return self.now

    @rule(number=st.integers(0, 2), tags=st.lists(st.sampled_from("abc"), unique=True, max_size=2))
    def render(self, number: int, tags: list[str]) -> None:
        self.pages.append((self._tick(), number, Page(self.tags[number].sequence, tuple(tags))))

    @rule(
        number=st.integers(0, 2),
        tags=st.lists(st.sampled_from("abc"), unique=True, min_size=1, max_size=2),
        everything=st.sampled_from([False, False, False, True]),
        soft=st.booleans(),
    )
    def purge(self, number: int, tags: list[str], everything: bool, soft: bool) -> None:
        now = self._tick()
        purged = self.tags[number].purge(tags, everything=everything, soft=soft)
        assert purged.everywhere == (not self.log.down and not self.log.full)
        what = None if everything else set(tags)
        logged = now if purged.everywhere else None
        self.purges.append({"at": now, "by": number, "tags": what, "soft": soft, "logged": logged})

    @rule(number=st.integers(0, 2))
    def refresh(self, number: int) -> None:
        if self.tags[number].refresh():
            self._heard(number, self._tick())

    @rule(number=st.integers(0, 2))
    def look_up(self, number: int) -> None:
        tags = self.tags[number]
        assert tags.store is not None
        known = tags.sequence
        fetched = tags.store.fetch([], known)
        if fetched is not None and tags.catch_up(fetched[1], known):
            self._heard(number, self._tick())

    def _heard(self, number: int, now: int) -> None:
        assert not self.log.down
        self.refreshed[number] = now
        if not self.tags[number].numbers()["pending"]:
            for purge in self.purges:
                if purge["by"] == number and purge["logged"] is None:
                    purge["logged"] = now

    @rule(down=st.booleans(), full=st.booleans())
    def trouble(self, down: bool, full: bool) -> None:
        self._tick()
        self.log.down, self.log.full = down, full
        self.lossless = self.lossless and not down and not full

    @precondition(lambda self: self.purges)
    @rule()
    def lose_memory(self) -> None:
        self._tick()
        self.log.forget()
        self.lossless = False
        for purge in self.purges:
            # Those who have not heard of it will find that something is missing.
            purge["logged"] = self.now if purge["logged"] is not None else None

    @rule(number=st.integers(0, 2))
    def judge(self, number: int) -> None:
        for began, maker, page in self.pages:
            if maker != number:
                # It comes from the store, which knows numbers only.
                page = Page(int(page.sequence), page.tags)
            verdict = self.tags[number].judge(page)
            hit = [
                purge
                for purge in self.purges
                if purge["at"] > began and (purge["tags"] is None or purge["tags"] & set(page.tags))
            ]
            known = [
                purge
                for purge in hit
                if purge["by"] == number or (purge["logged"] is not None and self.refreshed[number] > purge["logged"])
            ]
            if not all(purge["soft"] for purge in known):
                assert verdict is Verdict.GONE
            elif known:
                assert verdict is not Verdict.VALID
            elif self.lossless and not self._unseen(began, maker, page):
                assert verdict is Verdict.VALID, "purged, though nobody asked for it"

    def _unseen(self, began: int, maker: int, page: Page) -> bool:
        """Whether a purge that the page's maker had not heard of when it began hits it too."""
        seen = max([at for at in self._refreshes(maker) if at < began], default=-1)
        return any(
            purge["at"] > seen and (purge["tags"] is None or purge["tags"] & set(page.tags)) for purge in self.purges
        )

    def _refreshes(self, number: int) -> list[int]:
        own = [purge["at"] for purge in self.purges if purge["by"] == number and purge["logged"] == purge["at"]]
        return [*own, self.refreshed[number]]


PurgeMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPurgeMachine = PurgeMachine.TestCase


@pytest.mark.parametrize("shared", [False, True])
def test_in_haste_no_page_from_old_data_is_valid_after_the_purge(log: FakeLog, shared: bool) -> None:
    tags = process(log, max_tags=7) if shared else Tags(max_tags=7)
    data = {"version": 0, "purged": 0}
    pages: list[Page] = [Page(tags.sequence)]
    done = threading.Event()

    counts = [0] * 4

    def render(number: int) -> None:
        while not done.is_set():
            # The request begins, then reads its data, then is stored late.
            sequence = tags.sequence
            page = Page(sequence, ("book",), data["version"])
            pages[:] = [*pages[-20:], page]
            counts[number] += 1

    def serve(number: int) -> None:
        while not done.is_set():
            purged = data["purged"]
            for page in pages:
                if tags.judge(page) is Verdict.VALID:
                    assert page.version >= purged, "a page from before the purge was served after it"
                    counts[number] += 1

    with hasty_interpreter():
        workers = [Worker(partial(task, number)) for number, task in enumerate((render, render, serve, serve))]
        try:
            for number in range(400):
                data["version"] += 1
                tags.purge(["book", f"other-{number % 30}"])
                data["purged"] = data["version"]
            # On a busy machine one of them may not have had its turn yet.
            eventually(lambda: all(counts) or not all(worker.is_alive() for worker in workers))
        finally:
            done.set()
        for worker in workers:
            worker.result()
    assert all(counts)


# -- the thread


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsgiperf-cache-purges"]


@pytest.fixture
def started() -> Iterator[list[Tags]]:
    assert not threads(), "another test has left its own running"
    tags: list[Tags] = []
    yield tags
    for each in tags:
        each.stop()
        if each.store is not None:
            each.store.close()
    eventually(lambda: not threads())


def begin(started: list[Tags], tags: Tags) -> Tags:
    started.append(tags)
    tags.start()
    assert tags.is_started
    return tags


def test_an_announced_purge_is_heard_without_waiting_for_the_next_look(log: FakeLog, started: list[Tags]) -> None:
    log.deaf = False
    one = process(log)
    two = begin(started, Tags(GuardedStore(log), max_stale_s=3_600))
    eventually(lambda: log.subscriptions)
    page = Page(two.sequence)
    one.purge(["book"])
    eventually(lambda: two.judge(page) is Verdict.GONE)


def test_a_lost_announcement_is_made_good_and_the_subscription_renewed(log: FakeLog, started: list[Tags]) -> None:
    log.deaf, log.silent = False, True
    one = process(log)
    two = begin(started, Tags(GuardedStore(log), max_stale_s=0.02))
    eventually(lambda: log.subscriptions)
    page = Page(two.sequence)
    one.purge(["book"])
    eventually(lambda: two.judge(page) is Verdict.GONE)
    eventually(lambda: len(log.subscriptions) > 1)
    assert log.subscriptions[0].closed


def test_without_a_channel_news_is_asked_for(log: FakeLog, started: list[Tags]) -> None:
    one = process(log)
    two = begin(started, Tags(GuardedStore(log), max_stale_s=0.02))
    page = Page(two.sequence)
    one.purge(["book"])
    eventually(lambda: two.judge(page) is Verdict.GONE)


def test_the_thread_outlives_an_outage_and_passes_on_what_was_purged(log: FakeLog, started: list[Tags]) -> None:
    log.deaf = False
    one = begin(started, Tags(GuardedStore(log), max_stale_s=0.02))
    two = process(log)
    page = Page(two.sequence)
    log.down = True
    one.purge(["book"])
    eventually(lambda: one.unconfirmed_s() > 0.05)
    log.down = False
    eventually(lambda: one.numbers()["pending"] == 0)
    two.refresh()
    assert two.judge(page) is Verdict.GONE


def test_starting_twice_starts_one_thread_and_stopping_ends_it_at_once(log: FakeLog, started: list[Tags]) -> None:
    log.deaf = False
    tags = begin(started, Tags(GuardedStore(log), max_stale_s=3_600))
    tags.start()
    assert len(threads()) == 1
    eventually(lambda: log.subscriptions)
    tags.stop(timeout_s=20)
    assert not threads()
    assert not tags.is_started


def test_a_failure_of_the_thread_is_logged_and_it_goes_on(
    log: FakeLog, started: list[Tags], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tags = begin(started, Tags(GuardedStore(log), max_stale_s=0.01))
    real = tags.refresh
    failures = iter([ZeroDivisionError()])

    def refresh(needed: int = 0) -> bool:
        for failure in failures:
            raise failure
        return real(needed)

    monkeypatch.setattr(tags, "refresh", refresh)
    eventually(lambda: "Keeping up with purges failed" in caplog.text)
    asked = log.asked
    eventually(lambda: log.asked > asked + 2)


# -- with Redis


@pytest.fixture
def redis_alias(redis_url: str) -> Iterator[None]:
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        yield


def over_redis(started: list[Tags], **options: Any) -> Tags:
    return begin(started, Tags(GuardedStore(open_store("pages", timeout_s=5)), **options))


def test_over_redis_a_purge_is_heard_without_waiting_for_the_next_look(redis_alias: None, started: list[Tags]) -> None:
    one, two = over_redis(started, max_stale_s=3_600), over_redis(started, max_stale_s=3_600)
    pages = [Page(two.sequence, (f"t{number}",)) for number in range(300)]
    # The subscription is made after start() returns.
    eventually(lambda: one.purge(["probe"]) and two.sequence == one.sequence)
    for number in range(300):
        one.purge([f"t{number}"], soft=number % 2 == 0)
    eventually(lambda: two.sequence == one.sequence)
    verdicts = [two.judge(page) for page in pages]
    assert verdicts == [Verdict.STALE, Verdict.GONE] * 150
