"""A shop whose performance pages have something to show, for their tests and their screenshots.

Hours of made-up traffic are written through the real pipeline before the shop is served.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page

from tests.example_project.served import ROOT, environment, make_shop, serve

BASE = "/admin/django_wsgiperf/dashboard/"
SIZE = (1280, 900)
NARROW = (390, 844)
SCREENS = {
    "overview": "",
    "routes": "routes/",
    "route": "routes/detail/?route=/search/",
    "slow-requests": "samples/",
    "slow-request": "",
    "live": "live/",
    "databases": "databases/",
    "cache": "cache/",
    "settings": "settings/?changed=1",
}
"""Names of pictures, and addresses; that of a slow request is looked for."""
LONG = ("slow-requests",)
"""Of which the first window is enough."""
Scheme = Literal["light", "dark"]


def fill(data: Path, *, hours: float, processes: int, per_minute: int, **more: str) -> None:
    """Write traffic that ends now into the shop's metrics. Raises CalledProcessError."""
    options = (f"--hours={hours}", f"--processes={processes}", f"--per-minute={per_minute}")
    path = f"{ROOT}:{ROOT / 'example_project'}"
    settings = {"DJANGO_SETTINGS_MODULE": "bookshop.settings", **more}
    subprocess.run(
        [sys.executable, "-m", "tests.dashboard.traffic", *options],
        env={**environment(data, **settings), "PYTHONPATH": path},
        cwd=ROOT,
        check=True,
        timeout=300,
    )


def sign_in(browser: Browser, address: str) -> Any:
    """The cookies of the administrator, for a context's storage_state."""
    page = browser.new_page(base_url=address)
    page.goto(f"/admin/login/?next={BASE}")
    page.locator("[name=username]").fill("admin")
    page.locator("[name=password]").fill("twelve-threads")
    page.locator("#login-form [type=submit]").click()
    page.wait_for_selector("#wsgiperf")
    state = page.context.storage_state()
    page.close()
    return state


@contextlib.contextmanager
def visitors(address: str, paths: list[str]) -> Iterator[None]:
    """Clients that wait for the given pages as long as this lasts; none is waited for longer than half a minute."""

    def visit(path: str) -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address + path, timeout=30) as response:
            response.read()

    threads = [threading.Thread(target=visit, args=(path,), name=f"visitor of {path}", daemon=True) for path in paths]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(40)


def take(folder: Path, browser: Browser, data: Path, *, everything: bool) -> list[Path]:
    """The pictures of the documentation, or with `everything` each screen in both schemes and both widths."""
    make_shop(data, 200)
    delay = {"BOOKSHOP_SUPPLIER_DELAY_S": "25", "WSGIPERF_METRICS_RELEASE": "2026.11.3"}
    taken: list[Path] = []
    fill(data, hours=3, processes=3, per_minute=50)
    with serve(data, "--threads=8", "--graceful-timeout=1", **delay) as address:
        state = sign_in(browser, address)
        with urllib.request.urlopen(f"{address}/api/books/") as response:
            response.read()
        page = browser.new_page(base_url=address)
        page.goto("/books/?in_stock=1")
        book = page.locator(".card-link").first.get_attribute("href") or "/"
        page.close()
        with visitors(address, [f"{book}supplier/", f"{book}supplier/", *["/books/", "/", book, "/search/?q=the"] * 5]):
            for name, path in SCREENS.items():
                for scheme, size in kinds(name, everything):
                    context = browser.new_context(
                        base_url=address,
                        storage_state=state,
                        viewport={"width": size[0], "height": size[1]},
                        color_scheme=scheme,
                        locale="en-GB",
                    )
                    shown = context.new_page()
                    show(shown, name, path)
                    ending = f"-{'wide' if size == SIZE else 'narrow'}-{scheme}" if everything else ""
                    ending = ending or ("-dark" if scheme == "dark" else "-phone" if size == NARROW else "")
                    file = folder / f"performance-{name}{ending}.png"
                    shown.screenshot(path=file, full_page=everything or (size == SIZE and name not in LONG))
                    taken.append(file)
                    context.close()
    return taken


def kinds(name: str, everything: bool) -> list[tuple[Scheme, tuple[int, int]]]:
    if everything:
        return [("light", SIZE), ("dark", SIZE), ("light", NARROW), ("dark", NARROW)]
    return [("light", SIZE), ("dark", SIZE), ("light", NARROW)] if name == "overview" else [("light", SIZE)]


def show(page: Page, name: str, path: str) -> None:
    """Open a screen, without the sidebar, which says nothing of it."""
    page.add_init_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
    page.goto(f"{BASE}{path}", wait_until="load")
    if name == "slow-request":
        page.goto(f"{BASE}samples/?route=/api/books/")
        page.locator("#wsgiperf-samples tbody a").first.click()
        page.wait_for_selector("#wsgiperf-waterfall")
    if name == "overview":
        page.wait_for_selector("[data-chart=errors] canvas")
    if name == "live":
        page.locator("#wsgiperf-running summary").first.click()
