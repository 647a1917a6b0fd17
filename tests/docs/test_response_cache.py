"""The page on the response cache says of reasons, headers and commands what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_wsgiperf import conf
from django_wsgiperf.cache import compression, decorators, purging
from django_wsgiperf.cache.policy import Forward, Reason
from django_wsgiperf.cache.warming.client import Answer
from django_wsgiperf.cache.warming.outcome import Outcome, read
from django_wsgiperf.management.wsgiperf._reasons import MEANINGS

PAGE = (Path(__file__).parents[2] / "docs" / "response-cache.md").read_text(encoding="utf-8")
STATUSES = re.findall(r"^\| `(wsgiperf; .+?)` \|", PAGE, re.M)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_every_reason_is_in_the_table_as_the_command_tells_it(reason: Reason) -> None:
    what, do = MEANINGS[reason]
    assert f"| `{reason}` | {what} | {do} |" in PAGE.splitlines()


@pytest.mark.parametrize("status", STATUSES)
def test_every_cache_status_that_is_shown_can_be_sent(status: str) -> None:
    told = read(Answer(200, "OK", {"cache-status": status}, b"", 0))
    assert told.outcome is not Outcome.UNTOLD
    details = re.findall(r"detail=([\w-]+)", status)
    forwards = re.findall(r"fwd=([\w-]+)", status)
    assert set(details) <= {*Reason, "stale-if-error"}
    assert set(forwards) <= set(Forward)


def test_there_are_statuses_to_test() -> None:
    assert len(STATUSES) >= 8


def test_every_key_that_is_named_exists() -> None:
    keys = {option.key for section in conf.SECTIONS for option in conf.options(section)}
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "MIDDLEWARE", "ALLOWED_HOSTS", "TIME_ZONE", "WSGIPERF"}
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGE))
    assert named - known <= keys


def test_everything_that_is_imported_on_the_page_exists() -> None:
    for module, source in (("decorators", decorators), ("purging", purging)):
        (names,) = re.findall(rf"^from django_wsgiperf\.cache\.{module} import (.+)$", PAGE, re.M)
        for name in names.split(", "):
            assert getattr(source, name)


def test_the_order_of_codings_is_that_of_the_setting_and_of_what_is_installed() -> None:
    default = conf.load("CACHE", environ={}, settings={}).values.compress
    assert default == ("br", "zstd", "gzip")
    assert compression.available() == default
