"""/-/metrics and /-/stats as pages of the project, for those who may read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from django_wsgiperf.server import exposition
from django_wsgiperf.views import address_for_access
from tests.control.conftest import base

from .test_statistics import checked

__all__ = ["base"]

urlpatterns = [path("-/", include("django_wsgiperf.urls"))]
TOKEN = "correct-horse"
PAGES = ["/-/metrics", "/-/stats"]


@pytest.fixture(autouse=True)
def site(base: Any) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__, WSGIPERF=wsgiperf(base, STATS_TOKEN=TOKEN)):
        yield


def wsgiperf(base: Any, **server: Any) -> dict[str, Any]:
    return {"SERVER": {"CONTROL_DIR": str(base), **server}, "METRICS": {"STORE": "memory"}}


def get(page: str, **extra: str) -> Any:
    return Client().get(page, **{"HTTP_AUTHORIZATION": f"Bearer {TOKEN}", **extra})


def test_metrics_are_text_for_prometheus_or_openmetrics() -> None:
    plain = get("/-/metrics")
    assert plain.status_code == 200
    assert plain["Content-Type"].startswith("text/plain")
    assert plain["Cache-Control"] == "no-store"
    assert b"wsgiperf_process_cpu_seconds_total" in plain.content
    asked = get("/-/metrics", HTTP_ACCEPT="application/openmetrics-text; version=1.0.0")
    assert asked["Content-Type"].startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(asked.content.decode())}
    assert {"wsgiperf_http_requests", "wsgiperf_process_resident_memory_bytes"} <= names


def test_stats_keep_to_the_schema() -> None:
    response = get("/-/stats")
    assert response["Content-Type"] == "application/json"
    told = checked(response.json())
    assert [each["process"] for each in told["processes"]] == [0]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("authorization", ["", f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer \u20ac"])
def test_closed_to_those_without_the_token(page: str, authorization: str) -> None:
    response = get(page, HTTP_AUTHORIZATION=authorization)
    assert (response.status_code, response.content) == (404, b"Not Found\n")
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("page", PAGES)
def test_token_in_the_address_opens_nothing(page: str) -> None:
    assert Client().get(f"{page}?token={TOKEN}").status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_closed_unless_opened(page: str, base: Any) -> None:
    with override_settings(WSGIPERF=wsgiperf(base)):
        assert get(page).status_code == 404
        assert get(page, HTTP_AUTHORIZATION="Bearer ").status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_list_of_addresses_opens_them(page: str, base: Any) -> None:
    with override_settings(WSGIPERF=wsgiperf(base, STATS_ALLOW=["10.0.0.0/8", "unix"])):
        assert Client().get(page, REMOTE_ADDR="10.1.2.3").status_code == 200
        assert Client().get(page, REMOTE_ADDR="::ffff:10.1.2.3").status_code == 200
        assert Client().get(page, REMOTE_ADDR="192.0.2.1").status_code == 404
        assert Client().get(page, REMOTE_ADDR="").status_code == 404
        # A proxy has asked for somebody, or somebody says so.
        assert Client().get(page, REMOTE_ADDR="10.1.2.3", HTTP_X_FORWARDED_FOR="10.1.2.3").status_code == 404
        assert Client().get(page, REMOTE_ADDR="10.1.2.3", HTTP_FORWARDED="for=10.1.2.3").status_code == 404
        assert Client().get(page, REMOTE_ADDR="10.1.2.3", HTTP_X_REAL_IP="10.1.2.3").status_code == 404


def test_what_serve_knows_of_the_client_is_believed(base: Any) -> None:
    with override_settings(WSGIPERF=wsgiperf(base, TRUSTED_PROXIES=["10.9.9.9"])):
        told = {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "10.1.2.3"}
        assert address_for_access({**told, "wsgiperf.proxy": "10.9.9.9"}) == "10.1.2.3"
        assert address_for_access({**told, "wsgiperf.proxy": ""}) == ""
        assert address_for_access({**told, "wsgiperf.proxy": "10.1.2.3"}) == ""
        assert address_for_access({"REMOTE_ADDR": "10.9.9.9", "wsgiperf.proxy": "10.9.9.8"}) == ""


@pytest.mark.parametrize("page", PAGES)
def test_only_reading_is_possible(page: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(page, HTTP_AUTHORIZATION=f"Bearer {TOKEN}").status_code == 405
    head = client.head(page, HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    assert (head.status_code, head.content) == (200, b"")


@override_settings(
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django_wsgiperf"],
    ALLOWED_HOSTS=["shop.example"],
)
@pytest.mark.parametrize("page", PAGES)
def test_neither_login_nor_host_is_asked_for(page: str) -> None:
    assert get(page, HTTP_HOST="10.1.2.3:8000").status_code == 200


async def _ask(page: str) -> int:
    return int((await AsyncClient().get(page, headers={"authorization": f"Bearer {TOKEN}"})).status_code)


@pytest.mark.parametrize("page", PAGES)
def test_asynchronous_handlers_serve_them_too(page: str) -> None:
    import asyncio

    assert asyncio.run(_ask(page)) == 200


def test_without_prometheus_client_metrics_are_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exposition, "is_available", lambda: False)
    monkeypatch.setattr("django_wsgiperf.views._has_hinted", False)
    assert [get("/-/metrics").status_code for _ in range(2)] == [404, 404]
    assert sum("prometheus-client is not installed" in record.message for record in caplog.records) == 1
    assert get("/-/stats").status_code == 200
