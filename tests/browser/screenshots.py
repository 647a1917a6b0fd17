"""Takes the screenshots of the documentation: `python -m tests.browser.screenshots [folder]`.

Makes a shop of 5,000 books, serves it, and writes PNG files to docs/images, or to another folder with every page
in light and dark, wide and narrow (`--all`). Those of the performance pages are taken in a shop of their own; with
`--performance` they alone.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests import services
from tests.browser import performance
from tests.browser.browsing import launch
from tests.example_project.served import ROOT, make_shop, serve

WIDE = (1280, 800)
# Small enough for a file that is read over a network, wide enough for the whole layout.
PICTURE = (1200, 680)
NARROW = (390, 844)


@dataclass(frozen=True, slots=True)
class Shot:
    name: str
    path: str
    size: tuple[int, int] = WIDE
    scheme: Literal["light", "dark"] = "light"


def documented(book: str) -> list[Shot]:
    """What the README and the tutorial show."""
    return [
        Shot("home", "/", PICTURE),
        Shot("book-dark", book, PICTURE, "dark"),
        Shot("phone", "/", NARROW),
    ]


def all_pages(book: str, author: str) -> list[Shot]:
    """Every page in both schemes and both widths, for the eye."""
    pages = {
        "home": "/",
        "catalogue": "/books/?format=hardback",
        "category": "/categories/crime/",
        "search": "/search/?q=river",
        "book": book,
        "author": author,
        "live": "/live/",
        "login": "/account/login/",
        "register": "/account/register/",
        "basket": "/basket/",
        "checkout": "/checkout/",
        "account": "/account/",
        "upload": "/stock/upload/",
        "missing": "/nothing/",
    }
    return [
        Shot(f"{name}-{width}-{scheme}", path, size, scheme)
        for name, path in pages.items()
        for width, size in (("wide", WIDE), ("narrow", NARROW))
        for scheme in ("light", "dark")
    ]


def take(browser: Browser, address: str, folder: Path, shots: list[Shot], *, whole: bool, log_in: bool) -> None:
    for shot in shots:
        width, height = shot.size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=shot.scheme, device_scale_factor=1
        )
        page = context.new_page()
        if log_in and shot.path not in ("/account/login/", "/account/register/"):
            fill_basket(page, address)
        page.goto(address + shot.path, wait_until="load" if shot.path == "/live/" else "networkidle")
        if shot.path == "/live/":
            page.wait_for_selector(".feed .when")
        page.screenshot(path=folder / f"{shot.name}.png", full_page=whole)
        context.close()


def fill_basket(page: Page, address: str) -> None:
    """Log in as the administrator and put two books into the basket."""
    page.goto(f"{address}/account/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("twelve-threads")
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{address}/books/?in_stock=1")
    for link in [card.get_attribute("href") for card in page.locator(".card-link").all()[:2]]:
        page.goto(address + (link or "").replace("/books/", "/basket/add/"))
        page.locator("main").get_by_role("button", name="Add to basket").click()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--all", action="store_true", help="every page, in both schemes and both widths")
    parser.add_argument("--performance", action="store_true", help="only the performance pages")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.performance:
        take_the_shop(options.folder, everything=options.all)
    with (
        tempfile.TemporaryDirectory(prefix="performance-") as data,
        sync_playwright() as playwright,
        launch(playwright, str(services.chromium())) as browser,
    ):
        print(*performance.take(options.folder, browser, Path(data), everything=options.all), sep="\n")


def take_the_shop(folder: Path, *, everything: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bookshop-") as data, sync_playwright() as playwright:
        make_shop(Path(data), 5000)
        with serve(Path(data)) as address, launch(playwright, str(services.chromium())) as browser:
            page = browser.new_page()
            page.goto(f"{address}/books/?sort=rating&format=paperback")
            book = page.locator(".card-link").first.get_attribute("href") or "/"
            page.goto(address + book)
            author = page.locator(".by a").get_attribute("href") or "/"
            page.close()
            shots = all_pages(book, author) if everything else documented(book)
            take(browser, address, folder, shots, whole=everything, log_in=everything)
    print(*(f"{folder / shot.name}.png" for shot in shots), sep="\n")


if __name__ == "__main__":
    main()
