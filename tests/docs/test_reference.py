"""The reference pages are those that the code's tables give, and name everything that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_wsgiperf import conf
from django_wsgiperf.checks import CHECKS
from tests.docs.generate import DOCS, PAGES

AGAIN = "docs/{} is not what the code says; run: python -m tests.docs.generate"


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert read(name) == PAGES[name](), AGAIN.format(name)


def test_every_option_is_described_with_all_its_names() -> None:
    rows = [line for line in read("settings.md").splitlines() if line.startswith("| `")]
    for section in conf.SECTIONS:
        for option in conf.options(section):
            (row,) = [row for row in rows if f"| `{option.environment_name}` |" in row]
            assert row.startswith(f"| `{option.key}` ")
            assert (option.name != "bind" and section == "SERVER") is (f"`{option.flag}`" in row)


def test_every_check_is_listed_and_explained() -> None:
    page = read("checks.md")
    for number, check in CHECKS.items():
        assert f"\n## {number}\n" in page
        assert check.text in page


def test_every_check_has_a_test() -> None:
    tests = "".join(page.read_text(encoding="utf-8") for page in Path(__file__).parents[1].glob("test_checks*.py"))
    assert {number.removeprefix("wsgiperf.") for number in CHECKS} <= set(re.findall(r"[EWI]\d{3}", tests))


def test_the_pages_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGIPERF_THREADS", "99")
    assert PAGES["settings.md"]() == read("settings.md")


def test_links_within_a_page_lead_somewhere() -> None:
    page = read("checks.md")
    headings = {re.sub(r"[^a-z0-9]", "", line.lower()) for line in page.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\(#([a-z0-9]+)\)", page)) <= headings
