"""The pages in the admin: who may see them, on which sites, and what a refresh is answered with."""

from __future__ import annotations

import os
import re
from typing import Any

import django
import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import reverse

from django_wsgiperf.dashboard.screens import SCREENS
from django_wsgiperf.metrics import pipeline, query
from django_wsgiperf.metrics.stores.base import Store, StoreError
from tests.dashboard.conftest import client_of
from tests.dashboard.markup import Markup
from tests.dashboard.project import PREFIX

pytestmark = pytest.mark.django_db

PATHS = [screen.path for screen in SCREENS]
FOUND = [screen.path for screen in SCREENS if screen.name not in ("route", "sample")]


@pytest.mark.parametrize("path", PATHS)
def test_those_who_are_not_signed_in_are_asked_to(project: Store, path: str) -> None:
    response = Client().get(PREFIX + path)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("path", PATHS)
def test_staff_without_the_permission_sees_nothing(clerk: Client, path: str) -> None:
    assert clerk.get(PREFIX + path).status_code == 403
    assert clerk.get(PREFIX + path, {"fragment": "1"}).status_code == 403


@pytest.mark.parametrize("path", FOUND)
def test_the_permission_opens_every_screen(viewer: Client, path: str) -> None:
    response = viewer.get(PREFIX + path)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]


def test_index_and_sidebar_have_an_entry_for_those_who_may(viewer: Client, clerk: Client) -> None:
    assert f'href="{PREFIX}"' in viewer.get("/admin/").text
    assert PREFIX not in clerk.get("/admin/").text


def test_nothing_can_be_added_changed_or_deleted(project: Store) -> None:
    root = client_of(User.objects.create_superuser("root"))
    for path in ("add/", "1/change/", "1/delete/", "1/history/"):
        assert root.get(PREFIX + path).status_code == 404
    assert f"{PREFIX}add/" not in root.get("/admin/").text


def test_site_of_ones_own_has_the_pages_under_its_own_addresses(viewer: Client) -> None:
    response = viewer.get("/office/django_wsgiperf/dashboard/")
    assert response.status_code == 200
    assert "The office" in response.text
    assert "/office/django_wsgiperf/dashboard/routes/" in response.text
    assert "/admin/django_wsgiperf" not in response.text


def test_names_of_addresses_are_the_admins(project: Store) -> None:
    assert reverse("admin:django_wsgiperf_dashboard_changelist") == PREFIX
    assert reverse("admin:django_wsgiperf_dashboard_routes") == f"{PREFIX}routes/"


def test_breadcrumbs_are_those_of_this_django(viewer: Client) -> None:
    text = viewer.get(f"{PREFIX}routes/").text
    wanted = '<ol class="breadcrumbs">' if django.VERSION >= (6, 1) else '<div class="breadcrumbs">'
    assert text.count(wanted) == 1
    assert text.count('class="breadcrumbs"') == 1


@pytest.mark.parametrize("path", FOUND)
def test_fragment_is_the_screen_alone_and_does_not_list_all_models(
    viewer: Client, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("each_context() for a refresh")

    monkeypatch.setattr(AdminSite, "each_context", forbidden)
    response = viewer.get(PREFIX + path, {"fragment": "1"})
    assert response.status_code == 200
    assert response["X-Wsgiperf-Fragment"]
    assert "<html" not in response.text
    assert "wsgiperf-menu" not in response.text


def test_what_is_gone_is_said_to_be(viewer: Client) -> None:
    route = viewer.get(f"{PREFIX}routes/detail/", {"route": "/nothing/"})
    sample = viewer.get(f"{PREFIX}samples/detail/", {"id": "nothing"})
    assert (route.status_code, sample.status_code) == (404, 404)
    assert "Nothing was measured of this route" in route.text
    assert "not kept any more" in sample.text


@pytest.mark.parametrize("error", [DatabaseError("no such table: wsgiperf_bucket"), StoreError("Redis is away")])
@pytest.mark.parametrize("fragment", [{}, {"fragment": "1"}])
def test_store_that_cannot_be_read_is_told_of_on_the_page(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, fragment: dict[str, str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(query, "overview", fail)
    monkeypatch.setattr(query, "routes", fail)
    for response in (viewer.get(PREFIX, fragment), viewer.get(f"{PREFIX}routes/", {"export": "csv"})):
        assert response.status_code == 503
        assert str(error) in response.text
        assert "manage.py migrate" in response.text


@pytest.mark.parametrize("path", ["live/", "databases/", "settings/"])
def test_what_this_host_tells_is_shown_while_the_store_is_away(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("Redis is away")

    monkeypatch.setattr(pipeline.worker(), "store", fail)
    response = viewer.get(PREFIX + path)
    assert response.status_code == 200
    assert "Redis is away" in response.text
    if path != "databases/":
        assert str(os.getpid()) in Markup(response.text).own()


def test_requests_for_the_pages_are_not_counted(viewer: Client) -> None:
    viewer.get(PREFIX)
    viewer.get("/works/")
    pipeline.flush()
    assert [row.route for row in query.routes("1h")] == ["/works/"]


class CspNonce:
    """What django-csp does for its nonces."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.csp_nonce = "n0nce"  # type: ignore[attr-defined]
        response: HttpResponseBase = self.get_response(request)
        return response


def nonces(text: str) -> list[str]:
    """Of our own scripts and style sheets."""
    found = re.findall(r'<(?:script|link)[^>]*/django_wsgiperf/[^>]*?(?:nonce="([^"]*)")?>', text)
    assert len(found) == 5
    return found


def test_scripts_and_styles_carry_the_nonce_of_django_csp(viewer: Client, settings: Any) -> None:
    settings.MIDDLEWARE = ["tests.dashboard.test_admin.CspNonce", *settings.MIDDLEWARE]
    assert set(nonces(viewer.get(PREFIX).text)) == {"n0nce"}


def test_without_nonces_there_is_no_such_attribute(viewer: Client) -> None:
    assert "nonce" not in "".join(re.findall(r"<(?:script|link)[^>]*/django_wsgiperf/[^>]*>", viewer.get(PREFIX).text))


def test_scripts_and_styles_carry_the_nonce_of_django(viewer: Client, settings: Any) -> None:
    """From 6.0 on it has a middleware; before, nothing gives a nonce, and nothing is written."""
    if django.VERSION >= (6, 0):
        settings.MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *settings.MIDDLEWARE]
        settings.SECURE_CSP = {"script-src": ["<CSP_NONCE_SENTINEL>"], "style-src": ["<CSP_NONCE_SENTINEL>"]}
    response = viewer.get(PREFIX)
    (nonce,) = set(nonces(response.text))
    policy = response.headers.get("Content-Security-Policy", "")
    assert bool(nonce) is (django.VERSION >= (6, 0))
    assert nonce in policy


def test_fragment_leaves_out_what_the_script_draws_itself(busy: Store, viewer: Client) -> None:
    fragment = viewer.get(PREFIX, {"fragment": "1"}).text
    assert "wsgiperf-plot-picture" not in fragment
    assert fragment.count("data-plot") == 5
    assert "wsgiperf-series" in fragment
    assert "wsgiperf-plot-picture" in viewer.get(PREFIX, {"fragment": "1", "pictures": "1"}).text


@pytest.mark.parametrize("path", ["", "routes/", "samples/", "cache/"])
def test_hosts_of_the_period_can_be_chosen_on_its_screens(busy: Store, viewer: Client, path: str) -> None:
    text = viewer.get(PREFIX + path).text
    assert 'value="web-1"' in text
    assert 'value="web-2"' in text
