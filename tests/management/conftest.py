"""A served project with a response cache, which the commands look at from outside as one does from a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.processes import Serve

from .shop import Shop, write

Start = Callable[..., Shop]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop in one process, without a shared store, for all tests of a module: each has pages of its own."""
    folder = write(tmp_path_factory.mktemp("shop"))
    server = Serve(folder, "--threads", "4")
    yield Shop(folder, server, server.wait_until_it_serves())
    server.stop()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Start]:
    """Start the shop with these environment variables, and so many worker processes."""
    started: list[Serve] = []
    folder = write(tmp_path)

    def start(workers: int = 1, **environ: Any) -> Shop:
        server = Serve(folder, "--threads", "4", "--workers", str(workers), **environ)
        started.append(server)
        return Shop(folder, server, server.wait_until_it_serves(), environ)

    yield start
    for server in started:
        server.stop()
