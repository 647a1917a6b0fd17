"""Fixtures of the tests of the whole cache: a site behind each door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import doors


@pytest.fixture(autouse=True)
def _connections_of_the_test(connections_left_alone: None) -> None:
    """Handlers are called all the time here."""


@pytest.fixture(params=doors.DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """Each door in turn."""
    name: str = request.param
    return name


@pytest.fixture
def site(door: str) -> Iterator[doors.Site]:
    """A plain site behind each door in turn."""
    with doors.site(door) as made:
        yield made
