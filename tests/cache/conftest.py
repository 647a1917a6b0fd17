"""Fixtures of the tests of the whole cache: a site behind each door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from . import doors


@pytest.fixture(autouse=True)
def connections_of_the_test() -> Iterator[None]:
    """As Django's test client does: the test's own database connections are not the requests' to close."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


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
