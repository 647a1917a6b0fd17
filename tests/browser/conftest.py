"""The browser and the shop that it visits, served by `manage.py serve`; and pages that may not complain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.example_project.served import make_shop, serve

from .browsing import Complaints, launch

BOOKS = 200
LIMIT_MS = 60_000
"""What a browser of a busy machine may take for one thing; only a failure takes long."""

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
