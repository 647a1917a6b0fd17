"""The messages that the page on the connection pool shows are those that the pool really gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_wsgiperf import db
from django_wsgiperf.db import Pool, PoolConfig, PoolTimeout
from django_wsgiperf.db.holders import Holder
from tests.docs import markdown

PAGE = (Path(__file__).parents[2] / "docs" / "database-pool.md").read_text(encoding="utf-8")
SHOWN = [fence.body for fence in markdown.fences(PAGE) if fence.language == "text"]
HOLDER = re.compile(
    r"(?P<thread_name>[\w-]+), (?P<label>.+?), held (?P<held_s>[\d.]+) s, (?P<state>[a-z ]+), last SQL: (?P<sql>.+)"
)


class NoServer:
    """A driver whose connections are only counted."""

    def connect(self) -> object:
        return object()

    def close(self, raw: object) -> None: ...

    def is_alive(self, raw: object) -> bool:
        return True

    def abandon(self, raw: object) -> None: ...

    def state(self, raw: object) -> str:
        return "idle"


def beginning(text: str) -> str:
    """The words of a message before its list, with every number made the same."""
    return re.sub(r"\d+(?:\.\d+)?", "N", text.partition("\n")[0])


def test_timeout_begins_as_it_is_shown() -> None:
    (shown,) = [text for text in SHOWN if "had no connection free" in text]
    pool: Pool[object] = Pool("default", NoServer(), PoolConfig(max_size=1), background=False)
    lease = pool.acquire()
    with pytest.raises(PoolTimeout) as caught:
        pool.acquire(timeout_s=0.001)
    pool.release(lease)
    pool.close()
    assert beginning(shown) == beginning(str(caught.value))


def test_holders_are_described_as_they_are_shown() -> None:
    lines = [line.strip() for text in SHOWN for line in text.splitlines() if ", held " in line]
    lines = [line.partition("held for long: ")[2].partition(". Its thread")[0] or line for line in lines]
    assert len(lines) >= 4
    for line in lines:
        found = HOLDER.fullmatch(line)
        assert found is not None, line
        shown = found.groupdict()
        holder = Holder(
            thread_name=shown["thread_name"],
            thread_id=0,
            label="" if shown["label"] == "(no label)" else shown["label"],
            held_s=float(shown["held_s"]),
            state=shown["state"],
            last_sql=shown["sql"],
        )
        assert str(holder).replace(f"{holder.held_s:.3f}", shown["held_s"]) == line


def test_everything_that_is_imported_on_the_page_exists() -> None:
    imported = re.findall(r"^from django_wsgiperf\.db import (.+)$", PAGE, re.M)
    assert imported
    for names in imported:
        for name in names.split(", "):
            assert getattr(db, name)
