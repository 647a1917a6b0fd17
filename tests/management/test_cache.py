"""`manage.py wsgiperf cache`: what caches hold, and what is said of one address."""

from __future__ import annotations

import re

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from django_wsgiperf.cache.policy import Reason
from django_wsgiperf.cache.policy.meanings import MEANINGS, meaning

from .conftest import Start
from .running import wsgiperf
from .shop import Shop, squeezed


class TestOverview:
    def test_shows_numbers_reasons_and_the_largest_pages(self, shop: Start) -> None:
        running = shop()
        for path in ("/books/11/", "/books/11/", "/books/12/", "/basket/", "/plain/", "/plain/", "/account/"):
            running.get(path)
        outcome = running.wsgiperf("cache")
        assert outcome.code == 0, outcome.err
        lines = squeezed(outcome.out)
        assert lines[0] == "requests hit ratio pages memory stale shared made past it process"
        assert re.fullmatch(r"7 14\.3 % 2 [\d.]+ KiB of 64 MiB 0 0 6 0 \S+:\d+", lines[1])
        assert lines[2].startswith("No shared store: each process has pages of its own")
        assert lines[3] == "pages not kept because"
        assert sorted(lines[4:7]) == [
            "1 excluded the path is below the admin or one of EXCLUDE",
            "1 set-cookie the response sets a cookie, which is one visitor's",
            "2 no-freshness nothing says how long it may be kept",
        ]
        assert lines[7] == "largest hits fresh for status encoded route and tags"
        assert {line.partition(" 200 - ")[2] for line in lines[8:]} == {
            "/books/<int:pk>/ books book:11",
            "/books/<int:pk>/ books book:12",
        }

    def test_the_largest_pages_can_be_fewer_or_none(self, running: Shop) -> None:
        running.get("/books/13/")
        assert "largest" not in running.wsgiperf("cache", "--largest", "0").out
        (found,) = running.json("cache", "--largest", "1")["processes"].values()
        assert len(found["largest"]) == 1
        assert found["numbers"]["memory"]["entries"] >= 1

    def test_processes_stand_side_by_side_with_their_sum(self, shop: Start, redis_url: str) -> None:
        started = shop(workers=2, SHOP_REDIS=redis_url)
        started.visit_every_process("/books/1/", 2)
        lines = squeezed(started.wsgiperf("cache").out)
        rows = [line.split() for line in lines[1:4]]
        assert rows[2][-1] == "all"
        assert int(rows[0][0]) + int(rows[1][0]) == int(rows[2][0])
        shared = next(line for line in lines if line.startswith("Shared store: "))
        assert shared.endswith("; 1 page came from it")

    def test_copies_of_a_page_are_shown_as_one(self, shop: Start) -> None:
        started = shop(workers=2)
        started.visit_every_process("/books/1/", 2)
        started.get("/books/1/", Accept_Encoding="gzip")
        lines = squeezed(started.wsgiperf("cache").out)
        pages = [line for line in lines if line.endswith("book:1")]
        assert len(pages) == 1
        assert re.search(r" 1 (10 min|9 min \d+ s) 200 gzip /books/", pages[0])

    def test_nobody_there_is_said(self) -> None:
        with override_settings(WSGIPERF={}):
            outcome = wsgiperf("cache")
        assert outcome.code == 0
        assert outcome.out == "No process of this project with a response cache answers on this host.\n"


class TestAddress:
    def test_a_kept_page_is_explained(self, running: Shop) -> None:
        for _ in range(3):
            running.get("/books/21/")
        outcome = running.wsgiperf("cache", f"{running.origin}/books/21/")
        assert outcome.code == 0, outcome.err
        lines = squeezed(outcome.out)
        assert lines[0] == f"{running.origin}/books/21/"
        assert lines[1] == "kept: in the memory of 1 of 1 process on this host"
        facts = dict(line.split(" ", 1) for line in lines[2:])
        assert facts["would"] == "be hit"
        assert facts["hits"] == "2"
        assert facts["tags"] == "books book:21"
        assert facts["then"] == "1 min stale while a new one is made"
        assert facts["route"] == "/books/<int:pk>/"
        assert re.fullmatch(r"for (10 min|9 min \d+ s)", facts["fresh"])

    def test_a_path_alone_is_explained_where_it_is_kept(self, running: Shop) -> None:
        running.get("/books/23/")
        lines = squeezed(running.wsgiperf("cache", "/books/23/").out)
        assert lines[:2] == [f"{running.origin}/books/23/", "kept: in the memory of 1 of 1 process on this host"]
        running.get("/books/24/", Host="shop.example:8443")
        assert running.wsgiperf("cache", "/books/24/").out.startswith("http://shop.example:8443/books/24/\n")

    def test_a_path_alone_is_where_it_was_refused_by_whichever_process(self, shop: Start) -> None:
        started = shop(workers=2)
        started.get("/plain/")
        lines = squeezed(started.wsgiperf("cache", "/plain/").out)
        assert lines[0] == f"{started.origin}/plain/"
        assert "the last answer was not kept: no-freshness" in " ".join(lines)

    def test_a_path_alone_is_of_the_first_host_where_nobody_can_tell(self) -> None:
        with override_settings(WSGIPERF={}, ALLOWED_HOSTS=[".example", "shop.example"]):
            assert wsgiperf("cache", "/books/1/").out.startswith("http://shop.example/books/1/\n")

    def test_the_variant_is_that_of_the_headers_given(self, running: Shop) -> None:
        for language in ("de", "en"):
            running.get("/greeting/", Accept_Language=language)
        url = f"{running.origin}/greeting/"
        german = running.wsgiperf("cache", url, "--header", "Accept-Language: de").out
        assert "varies by accept-language: de, cookie (none)" in squeezed(german)
        assert "2 B" in german
        assert (
            len([line for line in squeezed(german) if re.match(r"\d+ .* accept-language: (de|en), cookie", line)]) == 2
        )
        (french,) = running.json("cache", url, "--header", "Accept-Language: fr")["processes"].values()
        assert not french["stored"]
        assert len(french["variants"]) == 2
        told = squeezed(running.wsgiperf("cache", url, "--header", "Accept-Language: fr").out)
        assert "not kept by any of 1 process on this host" in told
        assert "kept for other requests only, which differ in what it varies by:" in told
        assert len([line for line in told if re.match(r"\d+ .* accept-language: (de|en), cookie", line)]) == 2
        assert not any("nobody has asked" in line for line in told)

    def test_a_cookie_is_never_shown(self, running: Shop) -> None:
        running.get("/greeting/", Cookie="theme=swordfish")
        url = f"{running.origin}/greeting/"
        for more in ((), ("--json",)):
            outcome = running.wsgiperf("cache", url, "--cookie", "theme=swordfish", *more)
            assert "kept" in outcome.out or '"stored": true' in outcome.out
            assert "swordfish" not in outcome.out + outcome.err

    @pytest.mark.parametrize(
        ("path", "arguments", "why"),
        [
            ("/account/", (), "excluded: the path is below the admin or one of EXCLUDE"),
            ("/books/22/", ("--cookie", "messages=x"), "bypass-cookie: the request has a cookie that goes past"),
            ("/books/22/", ("--header", "Authorization: Basic x"), "authorization: the request has credentials"),
            ("/books/22/", (), "nobody has asked for it yet, or its answer was not kept; --make"),
        ],
    )
    def test_a_page_that_is_not_kept_says_why(
        self, running: Shop, path: str, arguments: tuple[str, ...], why: str
    ) -> None:
        running.get("/account/")
        outcome = running.wsgiperf("cache", f"{running.origin}{path}", *arguments)
        assert outcome.code == 0
        assert "not kept by any of 1 process on this host" in outcome.out
        assert why in outcome.out

    def test_a_host_that_is_not_served_says_so(self, running: Shop) -> None:
        assert "host: Django does not serve this host" in running.wsgiperf("cache", "http://evil.example/").out

    def test_an_answer_that_could_not_be_shared_is_remembered(self, running: Shop) -> None:
        running.get("/basket/")
        outcome = running.wsgiperf("cache", f"{running.origin}/basket/")
        assert "the last answer was not kept: set-cookie: the response sets a cookie" in outcome.out
        assert "the last answer could not be kept; for a while nobody waits for such a page; --make" in outcome.out

    def test_why_the_last_answer_was_not_kept_is_told_until_one_is(self, running: Shop) -> None:
        running.get("/books/23/", Cookie="theme=a")
        running.get("/plain/?once")
        told = running.wsgiperf("cache", f"{running.origin}/plain/?once").out
        assert "the last answer was not kept: no-freshness: nothing says how long it may be kept" in told
        assert "nobody has asked" not in told
        assert "was not kept" not in running.wsgiperf("cache", f"{running.origin}/books/23/").out


class TestMaking:
    def test_a_page_that_would_be_kept(self, running: Shop) -> None:
        outcome = running.wsgiperf("cache", f"{running.origin}/books/31/", "--make")
        assert outcome.code == 0, outcome.err
        assert "would be kept, fresh for 10 min" in outcome.out
        assert not running.is_hit("/books/31/"), "it was made elsewhere, and kept by nobody"

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("/basket/", "set-cookie: the response sets a cookie, which is one visitor's; set cookies on other pages"),
            ("/plain/", "no-freshness: nothing says how long it may be kept; use cache_response(ttl=...)"),
            ("/account/", "excluded: the path is below the admin or one of EXCLUDE"),
            ("/none/", "no-freshness"),
        ],
    )
    def test_a_page_that_would_not_says_why_and_exits_with_1(self, running: Shop, path: str, why: str) -> None:
        outcome = running.wsgiperf("cache", f"{running.origin}{path}", "--make")
        assert outcome.code == 1
        assert f"would not be kept: {why}" in outcome.out
        assert "swordfish" not in outcome.out

    def test_an_address_in_another_alphabet(self, running: Shop) -> None:
        written, sent = "/bücher/?q=%C3%A4%3F", "/b%C3%BCcher/?q=%C3%A4%3F"
        running.get(sent)
        outcome = running.wsgiperf("cache", f"{running.origin}{written}", "--make")
        assert outcome.out.startswith(f"{running.origin}{sent}\n")
        assert "kept: in the memory of 1 of 1 process" in outcome.out
        assert "answer     200, 3 B, in" in outcome.out
        assert "would be kept, fresh for 1 min" in outcome.out

    def test_as_json(self, running: Shop) -> None:
        made = running.json("cache", f"{running.origin}/basket/", "--make")["made"]
        assert made.pop("took_ms") > 0
        assert made == {
            "status": 200,
            "body_bytes": 6,
            "kept": False,
            "reason": "set-cookie",
            "lifetime_s": None,
            "headers": {
                "cache-control": "max-age=60",
                "content-type": "text/html; charset=utf-8",
                "set-cookie": "basket",
            },
        }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("books",), "no URL and no path"),
        (("--make",), "need the address"),
        (("--cookie", "a=b"), "need the address"),
        (("/", "--header", "nonsense"), "is no header"),
        (("/", "--header", "A B: c"), "is no header"),
        (("/", "--header", "A: b\r\nC: d"), "is no header"),
        (("/", "--cookie", "nonsense"), "is no cookie"),
        (("/", "--cookie", "a=b; c=d"), "is no cookie"),
        (("/", "--largest", "many"), "invalid int"),
    ],
)
def test_what_is_no_question_is_refused(arguments: tuple[str, ...], why: str) -> None:
    with override_settings(WSGIPERF={}), pytest.raises(CommandError, match=why):
        wsgiperf("cache", *arguments)


def test_a_cache_that_is_off_says_so() -> None:
    with override_settings(WSGIPERF={"CACHE": {"ENABLED": False}}), pytest.raises(CommandError, match="is off"):
        wsgiperf("cache")


def test_a_store_that_cannot_be_used_says_so() -> None:
    with override_settings(WSGIPERF={"CACHE": {"STORE": "default"}}), pytest.raises(CommandError) as caught:
        wsgiperf("cache")
    assert caught.value.returncode == 2
    assert "WSGIPERF['CACHE']['STORE'] is 'default'" in str(caught.value)


def test_every_reason_has_its_meaning() -> None:
    assert set(MEANINGS) == set(Reason)
    for reason in Reason:
        what, do = meaning(reason)
        assert what
        assert not what[0].isupper() or what.startswith(("If-", "Vary", "GET", "Django"))
        assert not (what + do).endswith(".")


def test_an_unknown_reason_has_none() -> None:
    assert meaning("moonlight").what == ""
