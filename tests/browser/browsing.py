"""Starts the browser for the tests and the screenshots: headless, and speaking to nobody but the shop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Response

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launch(playwright: Playwright, path: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
    try:
        yield browser
    finally:
        browser.close()


class Complaints:
    """What a page says in its console, throws, fails to load, or asks of anybody but the shop."""

    def __init__(self, page: Page, shop: str) -> None:
        self.found: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("response", self._look)
        page.on("request", lambda request: self._watch(request.url, shop))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"console: {message.text}")

    def _look(self, response: Response) -> None:
        if response.status >= 400:
            self.found.append(f"{response.status}: {response.url}")

    def _watch(self, url: str, shop: str) -> None:
        if not url.startswith((shop, "data:")):
            self.found.append(f"elsewhere: {url}")
