"""`manage.py wsgiperf purge`: what goes, in which processes, and what is said when that is not possible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from tests.cache import private_redis
from tests.server.processes import eventually

from .conftest import Start
from .running import wsgiperf
from .shop import Shop, squeezed


def test_what_is_named_goes_and_the_rest_stays(running: Shop) -> None:
    pages = [f"/books/{pk}/" for pk in range(1, 7)]
    for page in pages:
        running.get(page)
    elsewhere = "https://shop.example/books/6/"
    outcome = running.wsgiperf("purge", "/books/1/", f"{running.origin}/books/2/", "--tag", "book:3", elsewhere)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "3 addresses and 1 tag purged, in 1 process on this host\n"
    assert [page for page in pages if running.is_hit(page)] == ["/books/4/", "/books/5/", "/books/6/"]
    assert running.wsgiperf("purge", "--all").out == "everything purged, in 1 process on this host\n"
    assert [page for page in pages if running.is_hit(page)] == []


def test_without_a_shared_store_every_process_is_told(shop: Start) -> None:
    running = shop(workers=2)
    running.visit_every_process("/books/1/", 2)
    told = running.json("purge", "--tag", "books", "--dry-run")
    assert list(told["processes"].values()) == [{"books": 1, "all": 1}] * 2
    told = running.json("purge", "--tag", "books")
    assert len(told["processes"]) == 2
    assert told["failures"] == {}
    told = running.json("purge", "--tag", "books", "--dry-run")
    assert list(told["processes"].values()) == [{"books": 0, "all": 0}] * 2


def test_a_soft_purge_leaves_pages_to_be_used_meanwhile(running: Shop) -> None:
    running.get("/books/1/")
    outcome = running.wsgiperf("purge", "/books/1/", "--soft")
    assert outcome.out == "1 address made stale, in 1 process on this host\n"
    assert "hit; detail=stale" in running.get("/books/1/")[1]["cache-status"]


def test_dry_run_counts_and_purges_nothing(running: Shop) -> None:
    running.wsgiperf("purge", "--all")
    for page in ("/books/1/", "/books/2/", "/greeting/"):
        running.get(page)
    outcome = running.wsgiperf("purge", "--dry-run", "/greeting/", "--tag", "books", "--tag", "nothing")
    assert outcome.code == 0
    assert squeezed(outcome.out) == [
        "Would purge 1 address and 2 tags:",
        "pages in processes",
        "1 1 of 1 /greeting/",
        "2 1 of 1 books",
        "0 0 of 1 nothing",
        "3 1 of 1 together",
    ]
    told = running.json("purge", "--dry-run", "--all")
    assert list(told["processes"].values()) == [{"all": 3}]
    assert all(running.is_hit(page) for page in ("/books/1/", "/books/2/", "/greeting/"))


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_nobody_there_is_said_and_is_no_failure(more: tuple[str, ...]) -> None:
    with override_settings(WSGIPERF={}):
        outcome = wsgiperf("purge", "--all", *more)
    assert outcome.code == 0
    assert outcome.out == ""
    assert "No process of this project answers on this host" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "why", "code"),
    [
        ((), "say what to purge: addresses, --tag TAG, or --all", 2),
        (("--soft",), "say what to purge", 2),
        (("--all", "--tag", "books"), "--all is everything", 2),
        (("books",), "'books' is no URL and no path. Write '/books'", 2),
        (("ftp://shop.example/",), "no scheme http or https", 2),
        (("--tag", ""), "a tag has 1 to", 2),
    ],
)
def test_what_is_no_order_is_usage(arguments: tuple[str, ...], why: str, code: int) -> None:
    with override_settings(WSGIPERF={}), pytest.raises(CommandError, match=why) as caught:
        wsgiperf("purge", *arguments)
    assert caught.value.returncode == code


def test_a_cache_that_is_off_has_nothing_to_purge() -> None:
    with override_settings(WSGIPERF={"CACHE": {"ENABLED": False}}), pytest.raises(CommandError, match="is off"):
        wsgiperf("purge", "--all")


class TestSharedStore:
    def test_all_who_share_it_hear_of_the_purge(self, shop: Start, redis_url: str) -> None:
        running = shop(workers=2, SHOP_REDIS=redis_url)
        running.visit_every_process("/books/1/", 2)
        outcome = running.wsgiperf("purge", "--tag", "book:1")
        assert outcome.code == 0, outcome.err
        assert outcome.out.startswith("1 tag purged, for every process that shares ")

        def all_heard() -> bool:
            told = running.json("purge", "--tag", "book:1", "--dry-run")
            return [matching["all"] for matching in told["processes"].values()] == [0, 0]

        eventually(all_heard, "the page is gone everywhere")

    def test_dry_run_says_that_the_store_has_more(self, shop: Start, redis_url: str) -> None:
        running = shop(SHOP_REDIS=redis_url)
        running.get("/books/1/")
        outcome = running.wsgiperf("purge", "--tag", "books", "--dry-run")
        assert "1 1 of 1 books" in squeezed(outcome.out)
        assert "and whatever of it" in outcome.out
        assert running.is_hit("/books/1/")

    def test_when_it_is_out_of_order_processes_here_are_told_and_pass_it_on(self, shop: Start, tmp_path: Path) -> None:
        with private_redis.running(tmp_path) as redis:
            running = shop(SHOP_REDIS=redis.url)
            running.get("/books/1/")
            assert running.is_hit("/books/1/")
            redis.kill()
            outcome = running.wsgiperf("purge", "--tag", "books", "--json")
            assert outcome.code == 1
            told = json.loads(outcome.out)
            assert not told["everywhere"]
            assert len(told["processes"]) == 1
            assert "1 process on this host purged for themselves" in outcome.err
            assert not running.is_hit("/books/1/")
            running.server.stop()
            outcome = running.wsgiperf("purge", "--tag", "books")
            assert outcome.code == 1
            assert "nothing was purged" in outcome.err
