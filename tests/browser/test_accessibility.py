"""People with a keyboard, a finger, a screen reader or large letters can use the performance pages and the shop."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .accessibility import faults, faults_of_keyboard
from .conftest import SCREENS, Open
from .performance import BASE
from .test_shop import PUBLIC, add_to_basket, begin_to_buy, place_the_order


@pytest.mark.parametrize(("width", "locale"), [(360, "en-GB"), (360, "de"), (640, "de"), (1280, "de")])
def test_performance_pages_can_be_used_by_everybody(open_page: Open, width: int, locale: str) -> None:
    page = open_page(width=width, locale=locale)
    for path in (*SCREENS, "settings/?changed=1", "cache/?explain=http://127.0.0.1/books/"):
        page.goto(BASE + path)
        expect(page.locator("[data-plot]:not([data-drawn])")).to_have_count(0)
        assert faults(page, "#wsgiperf") == [], path
    page.goto(f"{BASE}samples/")
    page.locator("#wsgiperf-samples tbody a").first.click()
    expect(page.locator("#wsgiperf-waterfall")).to_be_visible()
    assert faults(page, "#wsgiperf") == []


@pytest.mark.parametrize("path", SCREENS)
def test_keyboard_reaches_everything_on_the_performance_pages(open_page: Open, path: str) -> None:
    page = open_page(path)
    expect(page.locator("[data-plot]:not([data-drawn])")).to_have_count(0)
    assert faults_of_keyboard(page, "#wsgiperf") == []


def test_choices_are_seen_where_the_system_chooses_the_colours(open_page: Open) -> None:
    page = open_page(forced_colors="active")
    ground = "each => getComputedStyle(each).backgroundColor"
    period = page.get_by_role("navigation", name="Period").get_by_role("link")
    chosen = page.get_by_role("navigation", name="Period").locator("[aria-current]")
    assert chosen.evaluate(ground) not in {each.evaluate(ground) for each in period.all()[-2:]}
    line = "each => getComputedStyle(each).borderBottomColor"
    menu = page.get_by_role("navigation", name="Performance")
    assert menu.locator("[aria-current]").evaluate(line) != menu.get_by_role("link").last.evaluate(line)


def test_paths_keep_their_slashes_from_right_to_left(open_page: Open) -> None:
    page = open_page(locale="ar")
    title = page.locator("[data-finding]", has_text="/api/books/").get_by_role("heading")
    order = title.evaluate(
        """(title) => {
          const walker = document.createTreeWalker(title, NodeFilter.SHOW_TEXT);
          const text = walker.nextNode();
          const at = (index) => {
            const range = document.createRange();
            range.setStart(text, index);
            range.setEnd(text, index + 1);
            return range.getBoundingClientRect().left;
          };
          return [at(text.data.length - 2), at(text.data.length - 1)];
        }"""
    )
    assert order[0] < order[1]


@pytest.mark.parametrize("width", [360, 1280])
def test_shop_can_be_used_by_everybody(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    begin_to_buy(page)
    book = page.url
    place_the_order(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Order TT-"))
    order = page.url
    page.goto(book)
    add_to_basket(page)
    for path in (book, order, "/basket/", "/checkout/", "/account/", "/account/register/", *PUBLIC):
        page.goto(path)
        assert faults(page, "body") == [], path


def test_keyboard_reaches_everything_in_the_shop(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")  # What is reached is scrolled to at once.
    for path in ("/", "/books/", "/search/?q=the", "/account/login/", "/basket/"):
        page.goto(path)
        expect(page).to_have_title(re.compile("."))
        assert faults_of_keyboard(page, "body") == [], path


def test_choices_in_the_shop_are_seen_where_the_system_chooses_the_colours(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    page.goto("/books/?format=hardback&in_stock=1&sort=title")
    ground = "each => getComputedStyle(each).backgroundColor"
    order = page.get_by_role("list", name="Order")
    chosen = order.locator("[aria-current]").evaluate(ground)
    assert chosen not in {each.evaluate(ground) for each in order.locator("a:not([aria-current])").all()}
    box = "each => getComputedStyle(each, '::before').backgroundColor"
    checked = page.locator(".check[aria-current]").first.evaluate(box)
    assert checked != page.locator(".check:not([aria-current])").first.evaluate(box)
    line = "each => getComputedStyle(each).borderBottomColor"
    page.goto("/categories/crime/")
    assert page.locator(".shelves a[aria-current]").evaluate(line) != page.locator(".shelves a").first.evaluate(line)


def test_books_that_are_pictures_are_named_by_what_is_on_them(page: Page) -> None:
    page.goto("/")
    links = page.locator(".fan a").all()
    assert links
    for link in links:
        words = " ".join(link.locator("text").all_text_contents()).casefold().split()
        name = (link.get_attribute("aria-label") or "").replace(":", "").casefold().split()
        assert words == name
