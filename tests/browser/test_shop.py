"""The bookshop in a real browser, served by `manage.py serve`: what a visitor does, sees, and must not meet."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from .browsing import Complaints

PUBLIC = (
    "/",
    "/books/",
    "/books/?format=hardback",
    "/categories/crime/",
    "/search/?q=the",
    "/live/",
    "/account/login/",
    "/basket/",
)


def log_in(page: Page, name: str = "reader") -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("twelve-threads")
    page.get_by_role("button", name="Log in").click()


def open_a_book(page: Page) -> str:
    """Open the first book of the catalogue that can be bought; its title."""
    page.goto("/books/?in_stock=1&sort=title")
    page.locator(".card-link").first.click()
    return page.locator("h1").inner_text()


def begin_to_buy(page: Page) -> str:
    """Log in, and put a book into the basket, on whose page one stays; its title."""
    page.goto("/account/login/")
    log_in(page)
    title = open_a_book(page)
    add_to_basket(page)
    return title


def add_to_basket(page: Page) -> None:
    """Of the book whose page is open, as the first that is in it."""
    page.get_by_role("button", name="Add to basket").click()
    expect(page.locator("[data-own=basket]")).to_have_text("1")


def place_the_order(page: Page) -> None:
    """Have what is in the basket sent to Ullapool."""
    page.goto("/checkout/")
    for label, text in (("Street", "1 Row"), ("City", "Ullapool"), ("Postcode", "IV26")):
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name=re.compile("Place the order")).click()


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_visitor_searches_and_buys_a_book(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("A shop full of books")
    page.get_by_label("Search books").fill("the")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Books for “the”")

    page.get_by_role("link", name="In stock only").click()
    page.locator(".card-link").first.click()
    title = page.locator("h1").inner_text()
    page.get_by_label("Copies").fill("2")
    page.get_by_role("button", name="Add to basket").click()
    expect(page.locator("[data-toast]")).to_contain_text(title)
    expect(page.locator("[data-own=basket]")).to_have_text("2")

    page.get_by_role("link", name=re.compile("^Basket")).click()
    expect(page.locator(".line")).to_have_count(1)
    expect(page.locator(".line")).to_contain_text(title)
    page.get_by_role("link", name="Check out").click()

    expect(page).to_have_url(re.compile("/account/login/"))
    log_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Where shall we send them?")
    expect(page.get_by_label("Name")).to_have_value("Robin Reader")
    for label, text in (("Street", "12 Thread Street"), ("City", "Leeds"), ("Postcode", "LS1 2TT")):
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name=re.compile("Place the order")).click()

    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Order TT-"))
    expect(page.locator(".messages")).to_contain_text("Thank you")
    expect(page.locator(".lines")).to_contain_text(title)
    expect(page.locator("[data-own=name]")).to_have_text("Robin")
    expect(page.locator("[data-own=basket]")).to_be_hidden()


def test_order_appears_on_the_live_page_of_somebody_else(page: Page, browser: Browser, shop: str) -> None:
    page.goto("/live/")
    expect(page.locator("[data-stream-state]")).to_have_text("Live")
    expect(page.locator(".feed .when")).not_to_have_count(0)

    context = browser.new_context(base_url=shop)
    buyer = context.new_page()
    title = begin_to_buy(buyer)
    place_the_order(buyer)
    expect(buyer.locator(".messages")).to_contain_text("Thank you")
    context.close()

    newest = page.locator(".feed li").first
    expect(newest).to_contain_text("Ullapool")
    expect(newest).to_contain_text(title)


def test_supplier_answers_in_place(page: Page) -> None:
    open_a_book(page)
    answer = page.locator("[data-supplier-answer]")
    meanwhile: list[str] = []

    def look(route: Route) -> None:
        meanwhile.append(answer.inner_text())
        route.continue_()

    page.route(re.compile("/supplier/$"), look)
    page.get_by_role("link", name="Ask the supplier").click()
    expect(answer).to_have_text(re.compile("copies|None at the moment"))
    assert meanwhile == ["Asking…"]


def test_shop_works_without_scripts(browser: Browser, shop: str) -> None:
    context = browser.new_context(base_url=shop, java_script_enabled=False)
    page = context.new_page()
    title = open_a_book(page)
    page.get_by_label("Copies").fill("3")
    page.get_by_role("button", name="Add to basket").click()
    page.get_by_role("button", name="Add to basket").click()
    expect(page.locator(".line")).to_contain_text(title)
    expect(page.get_by_label("Copies")).to_have_value("3")
    page.get_by_role("button", name=f"Remove {title}").click()
    expect(page.locator("main")).to_contain_text("It is empty")
    context.close()


@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(page: Page, path: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_book_basket_and_checkout_fit_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    begin_to_buy(page)
    for path in (page.url, "/basket/", "/checkout/", "/account/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_dark_and_light_follow_the_visitor(page: Page) -> None:
    page.goto("/")
    seen = {}
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        seen[scheme] = sum(map(int, re.findall(r"\d+", background(page))[:3]))
    assert seen["dark"] < 150
    assert seen["light"] > 650


CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null;
      const colour = parse(style.backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.offsetParent || element.closest("svg, [hidden], .hidden, .skip, noscript")) continue;
    const ground = behind(element);
    if (!ground) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(poor)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PUBLIC)
def test_text_has_contrast(page: Page, path: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(path)
    assert page.evaluate(CONTRAST) == []


def test_keyboard_reaches_the_content_past_the_navigation(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))


def test_policy_of_the_page_stops_inline_code(browser: Browser, shop: str) -> None:
    page = browser.new_page(base_url=shop)
    complaints = Complaints(page, shop)
    page.goto("/")
    ran = page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.intruder = true";
          document.head.append(script);
          return window.intruder === true;
        }"""
    )
    page.close()
    assert ran is False
    assert "Content Security Policy" in "".join(complaints.found)


def test_admin_opens_and_shows_the_shop(page: Page) -> None:
    page.goto("/admin/")
    log_in(page, "admin")
    page.get_by_role("link", name="Books", exact=True).first.click()
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
