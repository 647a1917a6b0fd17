"""The browser and the shops that it visits, served by `manage.py serve`; and pages that may not complain.

`shop` is the bookshop as it is; `site` has metrics to show, a strict policy, and the visitor's language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.example_project.served import make_shop, serve

from .browsing import Complaints, launch
from .performance import BASE, fill, sign_in

BOOKS = 200
LIMIT_MS = 60_000
"""What a browser of a busy machine may take for one thing; only a failure takes long."""
SCREENS = ("", "routes/", "routes/detail/?route=/api/books/", "samples/", "live/", "databases/", "cache/", "settings/")
"""Addresses of the performance pages below BASE."""
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.browser.strict.settings"}
State = Any
Open = Callable[..., Page]

expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a shop."""
    data: Path = tmp_path_factory.mktemp("shop")
    make_shop(data, BOOKS)
    options = ("--threads=12", "--graceful-timeout=2")
    with serve(data, *options, BOOKSHOP_SUPPLIER_DELAY_S="0.2", BOOKSHOP_STREAM_POLL_S="0.1") as address:
        yield address


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright, chromium_path) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, shop: str) -> Iterator[Page]:
    """A page of a fresh browser, 1280 pixels wide. The test fails when the page has complained or asked elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=shop, locale="en-GB")
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    complaints = Complaints(page, shop)
    yield page
    context.close()
    assert complaints.found == []


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a shop whose metrics hold an hour and a half of made-up traffic."""
    data: Path = tmp_path_factory.mktemp("performance")
    make_shop(data, 20, **SETTINGS)
    fill(data, hours=1.5, processes=2, per_minute=20, **SETTINGS)
    with serve(data, "--threads=6", "--graceful-timeout=2", **SETTINGS) as address:
        yield address


@pytest.fixture(scope="session")
def signed_in(browser: Browser, site: str) -> State:
    """The cookies of the administrator."""
    return sign_in(browser, site)


@pytest.fixture
def open_page(browser: Browser, site: str, signed_in: State) -> Iterator[Open]:
    """Opens a page of the administrator's. The test fails when one has complained or asked elsewhere, unless it may."""
    contexts: list[BrowserContext] = []
    watched: list[Complaints] = []

    def open_page(path: str = "", *, width: int = 1280, may_complain: bool = False, **options: Any) -> Page:
        size = {"width": width, "height": 900}
        options.setdefault("locale", "en-GB")
        context = browser.new_context(base_url=site, storage_state=signed_in, viewport=size, **options)  # type: ignore[arg-type]
        context.set_default_timeout(LIMIT_MS)
        contexts.append(context)
        page = context.new_page()
        if not may_complain:
            watched.append(Complaints(page, site))
        if options.get("java_script_enabled", True):
            page.clock.install()
        page.goto(BASE + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [complaint for each in watched for complaint in each.found] == []
