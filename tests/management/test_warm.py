"""`manage.py wsgiperf warm`: from a sitemap or list to a summary and an exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from django_wsgiperf.cache.compression import available
from django_wsgiperf.management.wsgiperf.warm import variants
from tests.cache.warming.sites import Site, site
from tests.cache.warming.test_crew import HIT, REFUSED, STORED
from tests.cache.warming.test_sources import sitemap

from .running import ROOT, shell, wsgiperf
from .shop import Shop


@pytest.fixture
def served() -> Iterator[Site]:
    """A site with a sitemap of a page that gets stored and one that was."""
    with site({"/new": STORED, "/old": HIT, "/own": REFUSED, "/broken": (500, {}, b"")}) as running:
        running.pages["/sitemap.xml"] = (200, {}, sitemap(f"{running.origin}/new", f"{running.origin}/old"))
        yield running


@pytest.fixture
def listed(served: Site, tmp_path: Path) -> Callable[..., str]:
    """Writes a file of paths of the site."""

    def write(*paths: str) -> str:
        file = tmp_path / "pages.txt"
        file.write_text("".join(f"{served.origin}{path}\n" for path in paths))
        return str(file)

    return write


def as_json(*arguments: str) -> tuple[int, dict[str, Any]]:
    outcome = wsgiperf("warm", "--json", *arguments)
    return outcome.code, json.loads(outcome.out)


def test_warms_the_pages_of_a_sitemap(served: Site) -> None:
    outcome = wsgiperf("warm", f"{served.origin}/sitemap.xml")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].startswith("2 pages, ")
    assert [line.split() for line in outcome.out.splitlines()[1:]] == [["warmed", "1"], ["already", "1"]]
    assert outcome.err == ""
    assert sorted(served.paths()) == ["/new", "/old", "/sitemap.xml"]


def test_failures_are_named_and_exit_with_1(listed: Callable[..., str], served: Site) -> None:
    outcome = wsgiperf("warm", listed("/new", "/broken", "/none"))
    assert outcome.code == 1
    assert "failed         2   " in outcome.out
    assert "500 Internal Server Error 1" in outcome.out
    assert f"failed  {served.origin}/none  404 Not Found" in outcome.out


def test_pages_that_are_not_cached_are_told_with_the_reason(listed: Callable[..., str]) -> None:
    file = listed("/new", "/own")
    outcome = wsgiperf("warm", file)
    assert outcome.code == 0
    assert "refused        1   set-cookie 1" in outcome.out
    assert wsgiperf("warm", file, "--strict").code == 1
    assert wsgiperf("warm", listed("/new"), "--strict").code == 0


def test_answers_without_a_word_of_the_cache_are_told(listed: Callable[..., str], served: Site) -> None:
    served.pages["/plain"] = (200, {}, b"page")
    outcome = wsgiperf("warm", listed("/plain"))
    assert outcome.code == 0
    assert "1 answer had no Cache-Status of ours" in outcome.out


def test_the_summary_as_json(listed: Callable[..., str], served: Site) -> None:
    code, summary = as_json(listed("/new", "/old", "/own", "/broken"), "--concurrency", "2")
    assert code == 1
    assert summary.pop("seconds") >= 0
    assert summary == {
        "pages": 4,
        "requests": 4,
        "warmed": 1,
        "already": 1,
        "refused": 1,
        "untold": 0,
        "failed": 1,
        "refusals": {"set-cookie": 1},
        "errors": {"500 Internal Server Error": 1},
        "failures": [{"url": f"{served.origin}/broken", "error": "500 Internal Server Error"}],
        "sitemaps": 0,
        "left_out": {},
        "cut": False,
    }


def test_paths_alone_need_a_base() -> None:
    outcome = shell("warm", "-", stdin="/books/1/\n")
    assert outcome.code == 1
    assert "1 left out, paths without a host: /books/1/\n" in outcome.err
    assert "--base http://127.0.0.1:8000" in outcome.err


def test_standard_input_and_a_base(served: Site) -> None:
    outcome = shell("warm", "-", "--base", served.origin, stdin="/new\nhttps://shop.example/old\n")
    assert outcome.code == 0, outcome.err
    hosts = {path: (fields["host"], fields.get("x-forwarded-proto")) for path, fields in served.requests}
    assert hosts == {
        "/new": (served.origin.removeprefix("http://"), None),
        "/old": ("shop.example", "https"),
    }


def test_variants_are_asked_for_each(listed: Callable[..., str], served: Site) -> None:
    code, summary = as_json(listed("/new"), "--variants", "encodings")
    assert code == 0
    assert summary["requests"] == len(available()) + 1
    asked = {fields["accept-encoding"] for _, fields in served.requests}
    assert asked == {*available(), "identity"}


@override_settings(LANGUAGES=[("en", "English"), ("de", "German")], USE_I18N=True)
def test_variants_are_all_encodings_in_all_languages() -> None:
    assert variants(()) == [{"Accept-Encoding": "gzip, deflate, br, zstd"}]
    assert [fields["Accept-Language"] for fields in variants(("languages",))] == ["en", "de"]
    assert len(variants(("encodings", "languages"))) == 2 * (len(available()) + 1)


def test_dry_run_asks_for_no_page(served: Site) -> None:
    outcome = wsgiperf("warm", f"{served.origin}/sitemap.xml", "--dry-run")
    assert outcome.out.splitlines() == [f"{served.origin}/new", f"{served.origin}/old"]
    assert served.paths() == ["/sitemap.xml"]


def test_limit_and_left_out_addresses_are_told(listed: Callable[..., str], tmp_path: Path) -> None:
    outcome = wsgiperf("warm", listed("/new", "/old"), "--limit", "1")
    assert outcome.code == 0
    assert "--limit 1" in outcome.err
    (tmp_path / "more").write_text("ftp://a.example/\n")
    outcome = wsgiperf("warm", str(tmp_path / "more"))
    assert outcome.code == 1
    assert "1 left out, not http or https addresses: no http or https address: 'ftp://a.example/'" in outcome.err
    assert "No page to ask for was found." in outcome.err


def test_another_sites_pages_are_left_out_with_a_hint(served: Site) -> None:
    served.pages["/sitemap.xml"] = (200, {}, sitemap("https://shop.example/"))
    outcome = wsgiperf("warm", f"{served.origin}/sitemap.xml")
    assert outcome.code == 1
    assert "1 left out, of another site than the sitemap: https://shop.example/" in outcome.err
    assert "--base ADDRESS" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "why", "code"),
    [
        (("none.txt",), "none.txt cannot be read", 1),
        (("http://127.0.0.1:1/sitemap.xml",), "connection refused", 1),
        (("-", "--base", "127.0.0.1:8000"), "--base: no http or https address", 2),
        (("-", "--concurrency", "0"), "0 is not within 1 and 64", 1),
        (("-", "--limit", "many"), "'many' is no whole number", 1),
        (("-", "--timeout", "-1"), "-1 is not a time above 0", 1),
        (("-", "--timeout", "soon"), "'soon' is no time in seconds", 1),
        (("-", "--variants", "colours"), "there are no variants by 'colours'", 1),
        ((), "required: source", 1),
    ],
)
def test_what_cannot_be_done_says_why(arguments: tuple[str, ...], why: str, code: int) -> None:
    with pytest.raises(CommandError, match=why) as caught:
        wsgiperf("warm", *arguments)
    assert caught.value.returncode == code


def test_addresses_in_the_summary_do_not_steer_the_terminal(listed: Callable[..., str], served: Site) -> None:
    served.pages["/odd"] = (200, {"Cache-Status": 'wsgiperf; fwd=miss; detail="a\x1b[31mb"'}, b"")
    outcome = wsgiperf("warm", listed("/odd", "/%1B[31m"))
    assert "\x1b" not in outcome.out


def on_a_terminal(*arguments: str) -> str:
    """What the command writes to its error stream where that is a terminal."""
    main, other = pty.openpty()
    try:
        done = subprocess.Popen(
            [sys.executable, "-m", "django", "wsgiperf", "warm", *arguments, "--settings", "tests.settings"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=other,
        )
        os.close(other)
        written = b""
        while True:
            try:
                piece = os.read(main, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
        assert done.wait(60) == 0
    finally:
        os.close(main)
    return written.decode()


def test_progress_is_shown_on_a_terminal_only(listed: Callable[..., str]) -> None:
    file = listed("/new", "/old")
    assert "100 %  2/2" in on_a_terminal(file)
    assert on_a_terminal(file, "-v", "0") == ""
    assert shell("warm", file).err == ""


class TestServedProject:
    """On a real server with the response cache."""

    def test_what_was_warmed_is_a_hit_for_the_next_visitor(self, running: Shop, tmp_path: Path) -> None:
        file = tmp_path / "pages.txt"
        file.write_text("/books/91/\n/books/92/\n/basket/\n/plain/\n")
        arguments = ("warm", str(file), "--base", running.origin, "--json")
        first = json.loads(running.wsgiperf(*arguments).out)
        assert (first["warmed"], first["already"], first["refused"], first["failed"]) == (2, 0, 2, 0)
        assert first["refusals"] == {"set-cookie": 1, "no-freshness": 1}
        assert running.is_hit("/books/91/")
        again = json.loads(running.wsgiperf(*arguments).out)
        assert (again["warmed"], again["already"]) == (0, 2)

    def test_each_encoding_and_language_is_made_once(self, running: Shop, tmp_path: Path) -> None:
        file = tmp_path / "pages.txt"
        file.write_text("/books/93/\n/greeting/\n")
        variants = ("--variants", "encodings,languages")
        # One after the other: of several at once, some would wait for another, and be warmed by it.
        arguments = ("warm", str(file), "--base", running.origin, *variants, "--concurrency", "1", "--json")
        summary = json.loads(running.wsgiperf(*arguments).out)
        # The book is one page for all; the greeting is one for each language.
        assert summary["requests"] == 2 * 3 * (len(available()) + 1)
        assert summary["warmed"] == 1 + 3
        assert summary["failed"] == summary["refused"] == 0
        (found,) = running.json("cache", f"{running.origin}/books/93/")["processes"].values()
        assert set(found["entry"]["codings"]) == set(available())

    def test_a_public_name_is_warmed_at_the_server_itself(self, running: Shop, tmp_path: Path) -> None:
        file = tmp_path / "pages.txt"
        file.write_text("http://shop.example/books/94/\n")
        assert running.wsgiperf("warm", str(file), "--base", running.origin).code == 0
        assert "hit" in running.get("/books/94/", Host="shop.example")[1]["cache-status"]
        assert not running.is_hit("/books/94/"), "another host, another page"
