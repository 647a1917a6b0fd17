"""The checks of the numbers for machines: what provokes each, and what settles it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from django.core import checks
from django.test import override_settings

from django_wsgiperf.checks import exports
from tests.checking import sound_project


@pytest.fixture(autouse=True)
def _a_sound_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from sound_project(monkeypatch)


def found() -> set[str]:
    """The numbers of what the checks say, without their prefix."""
    messages = checks.run_checks(tags=["wsgiperf"], include_deployment_checks=True)
    return {str(message.id).removeprefix("wsgiperf.") for message in messages}


def test_otlp_needs_its_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(WSGIPERF={"METRICS": {"OTLP": True}}):
        assert found() == set()
        monkeypatch.setattr(exports, "_is_installed", lambda module: module != exports.EXPORTER)
        assert found() == {"W025"}
    with override_settings(WSGIPERF={}):
        assert found() == set(), "nobody asked for it"


@pytest.mark.parametrize("opened", [{"STATS_TOKEN": "x" * 40}, {"STATS_ALLOW": ["10.0.0.0/8"]}])
def test_open_metrics_need_prometheus_client(opened: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(WSGIPERF={"SERVER": opened}):
        assert found() == set()
        monkeypatch.setattr(exports, "_is_installed", lambda module: module != "prometheus_client")
        assert found() == {"I002"}
    with override_settings(WSGIPERF={"SERVER": {**opened, "METRICS_PATH": ""}}):
        assert found() == set(), "the page is turned off"
    with override_settings(WSGIPERF={}):
        assert found() == set(), "the page is closed"


def test_what_is_installed_is_found_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exports._is_installed(exports.EXPORTER)
    assert not exports._is_installed("no_such_package.of.anything")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert not exports._is_installed("prometheus_client")
