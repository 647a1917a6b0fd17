"""The performance pages in a real browser, under a strict policy: charts, refreshes, keyboard, no script, actions.

The clock of the page is the test's (page.clock), so that refreshes are due when the test says so.
"""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from typing import Literal

import pytest
from playwright.sync_api import Page, Request, expect

from django_wsgiperf.dashboard import formats
from tests.browser.conftest import SCREENS, Open
from tests.browser.performance import BASE
from tests.browser.test_shop import CONTRAST

FRAGMENT = re.compile("fragment=1")


def refreshes(page: Page) -> list[Request]:
    """The refreshes that the page asks for from now on."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if FRAGMENT.search(request.url) else None)
    return found


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.mark.parametrize("width", [360, 1440])
def test_every_screen_keeps_to_the_policy_and_fits_the_window(open_page: Open, width: int) -> None:
    page = open_page(width=width)
    for path in SCREENS:
        page.goto(BASE + path)
        expect(page.locator("#wsgiperf-content")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{BASE}samples/")
    page.locator("#wsgiperf-samples tbody a").first.click()
    expect(page.locator("#wsgiperf-waterfall")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_rows_of_tiles_are_full_whatever_is_measured(open_page: Open, width: int) -> None:
    page = open_page("?refresh=0", width=width)
    for count in (11, 10, 9, 8):
        ends = page.evaluate(
            """(count) => {
              const tiles = [...document.querySelectorAll(".wsgiperf-tile")];
              for (const tile of tiles.slice(count)) tile.remove();
              const boxes = tiles.slice(0, count).map((tile) => tile.getBoundingClientRect());
              const rows = Map.groupBy(boxes, (box) => Math.round(box.top));
              return [...rows.values()].map((row) => Math.round(Math.max(...row.map((box) => box.right))));
            }""",
            count,
        )
        assert len(set(ends)) == 1, count


def test_long_name_of_a_host_fits_a_phone(open_page: Open) -> None:
    page = open_page("?host=web-1.shop.eu-central-1.compute.internal.example.com", width=360)
    expect(page.get_by_label("Host")).to_have_value(re.compile("^web-1.shop"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_themes(open_page: Open, scheme: Literal["light", "dark"]) -> None:
    page = open_page(color_scheme=scheme)
    for path in SCREENS:
        page.goto(BASE + path)
        assert page.evaluate(CONTRAST.replace('"body *"', '".wsgiperf *"')) == [], path


def test_right_to_left_is_mirrored_and_time_is_not(open_page: Open) -> None:
    page = open_page(width=390, locale="ar")
    assert page.locator("html").get_attribute("dir") == "rtl"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    chart = page.locator("[data-chart=times] .uplot")
    assert chart.evaluate("each => getComputedStyle(each).direction") == "ltr"
    first, second = (page.locator(".wsgiperf-menu a").nth(at).bounding_box() for at in (0, 1))
    assert first is not None
    assert second is not None
    assert first["x"] > second["x"]


def test_charts_write_long_times_as_the_tables_beside_them(open_page: Open) -> None:
    page = open_page("?refresh=0")
    page.evaluate(
        """() => {
          const holder = document.getElementById("wsgiperf-series");
          const data = JSON.parse(holder.textContent);
          const values = [59.9, 59.96, 75, 5000, 100000];
          data.times.x = data.times.x.slice(0, values.length);
          for (const line of data.times.lines) line.values = values;
          holder.textContent = JSON.stringify(data);
          wsgiperfCharts.draw();
        }"""
    )
    page.locator("[data-chart=times] .uplot").focus()
    said = []
    for key in ("Home", *["ArrowRight"] * 4):
        page.keyboard.press(key)
        said.append(page.locator("#wsgiperf-said").inner_text().rpartition("p99 ")[2])
    assert said == [formats.duration(value) for value in (59.9, 59.96, 75, 5000, 100_000)]
    assert said[2:] == ["1 min 15 s", "1 h 23 min", "1 d 3 h"]


def test_charts_write_digits_and_days_as_the_tables_beside_them(open_page: Open) -> None:
    page = open_page(locale="fa")
    page.locator("[data-chart=requests] .uplot").focus()
    page.keyboard.press("Home")
    page.keyboard.press("+")
    said = page.locator("#wsgiperf-said").inner_text()
    page.locator("#wsgiperf-data-requests summary").click()
    month = page.locator("#wsgiperf-data-requests time").first.inner_text().split()[1]
    assert re.findall(r"\d", said, re.ASCII) == re.findall(r"\d", said)
    assert month in said


@pytest.mark.parametrize("locale", ["en", "ar"])
def test_menu_on_a_phone_shows_the_screen_that_is_open(open_page: Open, locale: str) -> None:
    page = open_page(width=390, locale=locale)
    for path in SCREENS:
        page.goto(BASE + path)
        link = page.locator(".wsgiperf-menu [aria-current]").bounding_box()
        assert link is not None
        assert link["x"] >= 0, path
        assert link["x"] + link["width"] <= 390, path


def test_charts_tell_their_values_and_zoom_together(open_page: Open) -> None:
    page = open_page()
    chart = page.locator("[data-chart=times] .u-over")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    tip = page.locator("[data-chart=times] .wsgiperf-tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("p95")

    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"#t=\d+-\d+$"))
    expect(page.locator("[data-plot][data-zoomed='1']")).to_have_count(page.locator("[data-plot]").count())

    page.reload()
    expect(page.locator("[data-chart=parts] [data-zoomed='1']")).to_be_visible()
    page.locator("[data-chart=parts]").get_by_role("button", name="Show all").click()
    expect(page.locator("[data-zoomed='1']")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("#t="))


def test_charts_are_read_and_zoomed_by_the_keyboard(open_page: Open) -> None:
    page = open_page()
    page.locator("[data-chart=requests] .uplot").focus()
    page.keyboard.press("End")
    expect(page.locator("#wsgiperf-said")).to_contain_text("Succeeded")
    page.keyboard.press("Home")
    first = page.locator("#wsgiperf-said").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#wsgiperf-said")).not_to_have_text(first)
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile(r"#t=\d+-\d+$"))
    expect(page.locator("#wsgiperf-said")).to_have_text(re.compile("^Zoomed: .+ to .+"))
    part = page.locator("#wsgiperf-said").inner_text()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("#t="))
    expect(page.locator("#wsgiperf-said")).not_to_have_text(part)


def test_charts_are_painted_anew_when_the_theme_changes(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    painted = "document.querySelector('[data-chart=times] canvas').toDataURL()"
    expect(page.locator("[data-chart=times] canvas")).to_be_visible()
    light = page.evaluate(painted)
    for _ in range(3):  # auto, light, dark, in the order that the toggle has
        page.locator(".theme-toggle").first.click()
        if page.locator("html").get_attribute("data-theme") == "dark":
            break
    page.wait_for_function(f"(light) => {painted} !== light", arg=light)
    dark = page.evaluate(painted)
    page.evaluate("document.documentElement.dataset.theme = 'auto'")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"(dark) => {painted} !== dark", arg=dark)


def test_refresh_replaces_what_changed_and_keeps_what_the_reader_did(open_page: Open) -> None:
    page = open_page()
    page.locator("[data-chart=requests] .uplot").focus()
    page.keyboard.press("+")
    page.locator("#wsgiperf-data-times summary").click()
    page.evaluate("document.getElementById('wsgiperf-tiles').dataset.old = '1'")
    zoom = page.url
    with page.expect_response(FRAGMENT) as response:
        page.clock.fast_forward(11_000)
    assert response.value.status == 200
    expect(page.locator("#wsgiperf-status")).to_contain_text("updated")
    expect(page.locator("#wsgiperf-data-times")).to_have_attribute("open", "")
    expect(page.locator("[data-chart=requests] canvas")).to_have_count(1)
    assert page.url == zoom
    page.clock.fast_forward(5_000)
    expect(page.locator("#wsgiperf-status")).to_have_text(re.compile(r"updated \d+ s ago"))


@pytest.mark.parametrize(
    ("path", "focused"),
    [
        ("", "[data-chart=requests] .uplot"),
        ("", "#wsgiperf-data-times summary"),
        ("", "#wsgiperf-top tbody tr:nth-child(3) a"),
        ("live/", "#wsgiperf-processes .wsgiperf-scroll"),
    ],
)
def test_refresh_leaves_the_keyboard_where_it_is(open_page: Open, path: str, focused: str) -> None:
    page = open_page(path)
    element = page.locator(focused)
    element.focus()
    name = element.get_attribute("href")
    # A refresh finds every section changed.
    page.evaluate(
        """() => {
          const parse = DOMParser.prototype.parseFromString;
          DOMParser.prototype.parseFromString = function (...text) {
            const fresh = parse.apply(this, text);
            for (const each of fresh.body.children) each.dataset.fresh = "1";
            for (const each of fresh.querySelectorAll("figure")) each.dataset.fresh = "1";
            return fresh;
          };
        }"""
    )
    with page.expect_response(FRAGMENT):
        page.clock.fast_forward(11_000)
    expect(page.locator("[data-fresh]").first).to_be_attached()
    expect(page.locator(focused) if name is None else page.locator(f'#wsgiperf-top a[href="{name}"]')).to_be_focused()


def test_refresh_pauses_while_the_page_is_hidden(open_page: Open) -> None:
    page = open_page()
    asked = refreshes(page)
    hide(page, True)
    expect(page.locator("#wsgiperf-status")).to_have_text("paused")
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response(FRAGMENT):
        hide(page, False)
    expect(page.locator("#wsgiperf-status")).to_contain_text("updated")


def test_refresh_can_be_turned_off_by_the_address(open_page: Open) -> None:
    page = open_page("?refresh=0")
    asked = refreshes(page)
    page.clock.run_for(120_000)
    assert asked == []


def test_failed_refreshes_come_ever_later_and_one_at_a_time(open_page: Open) -> None:
    page = open_page(may_complain=True)
    asked = refreshes(page)
    page.route(FRAGMENT, lambda route: route.abort())
    for seconds in (11, 21, 41):
        with page.expect_event("requestfailed"):
            page.clock.run_for(seconds * 1000)
        expect(page.locator("#wsgiperf-status")).to_have_attribute("data-state", "failed")
    assert len(asked) == 3
    page.unroute(FRAGMENT)
    with page.expect_response(FRAGMENT):
        page.clock.run_for(81_000)
    expect(page.locator("#wsgiperf-status")).to_have_attribute("data-state", "updated")


def test_refresh_ends_when_the_reader_is_signed_out(open_page: Open) -> None:
    page = open_page("live/", may_complain=True)
    page.context.clear_cookies()
    with page.expect_response(FRAGMENT):
        page.clock.run_for(11_000)
    expect(page.locator("#wsgiperf-status")).to_have_text("not signed in any more")
    expect(page.locator("#wsgiperf-processes")).to_be_visible()
    asked = refreshes(page)
    page.clock.run_for(60_000)
    assert asked == []


def test_everything_is_there_without_scripts(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    expect(page.locator("[data-chart=times] svg")).to_be_visible()
    page.locator("#wsgiperf-data-times summary").click()
    expect(page.locator("#wsgiperf-data-times tbody tr")).to_have_count(30)
    page.get_by_label("Host").select_option("web-1")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(r"\?host=web-1$"))
    page.get_by_role("navigation", name="Performance").get_by_role("link", name="Routes").click()
    page.get_by_role("columnheader", name="p95").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="p95")).to_have_attribute("aria-sort", "descending")
    expect(page).to_have_url(re.compile("host=web-1&sort=-p95_s"))
    page.get_by_label("Filter", exact=True).fill("basket")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#wsgiperf-routes tbody tr")).to_have_count(2)
    page.goto(f"{BASE}cache/")
    page.get_by_role("button", name="Purge everything").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Are you sure?")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Response cache")


def test_purge_asks_first(open_page: Open) -> None:
    page = open_page("cache/")
    page.get_by_label("Tags").fill("book:1")
    purge = page.locator("form", has=page.get_by_label("Tags")).get_by_role("button")
    purge.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("book:1")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    purge.click()
    dialog.get_by_role("button", name="Purge").click()
    expect(page.locator(".messagelist")).to_contain_text("book:1")


def test_request_that_takes_long_is_seen_and_interrupted(open_page: Open, site: str) -> None:
    outcome: list[int] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{site}/long/", timeout=90) as response:
                outcome.append(response.status)
        except urllib.error.HTTPError as error:
            outcome.append(error.code)
        except OSError:
            outcome.append(0)

    client = threading.Thread(target=ask, name="patient-client")
    client.start()
    try:
        page = open_page("live/")
        row = page.locator("#wsgiperf-running tr", has_text="/long/")
        for _ in range(50):
            if row.count():
                break
            page.reload()
        row.get_by_text("Stack").click()
        expect(row).to_contain_text("take_long")
        row.get_by_role("button", name="Interrupt").click()
        page.get_by_role("dialog").get_by_role("button", name="Interrupt").click()
        expect(page.locator(".messagelist")).to_contain_text("/long/ was interrupted")
    finally:
        client.join(90)
    assert outcome == [504]
    page.goto("/admin/")
    expect(page.locator("#recent-actions-module")).to_contain_text("/long/")
