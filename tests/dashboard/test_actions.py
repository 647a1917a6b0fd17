"""What changes something: only by POST, with the second permission, after a question, and with a line in the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.test import Client

from django_wsgiperf.cache import answering
from django_wsgiperf.cache import runtime as cache
from django_wsgiperf.dashboard import asking
from django_wsgiperf.metrics import pipeline, providers, query
from tests.dashboard.conftest import client_of, make_user
from tests.dashboard.project import PREFIX

pytestmark = pytest.mark.django_db

INTERRUPT = f"{PREFIX}live/interrupt/"
PURGE = f"{PREFIX}cache/purge/"
ALL = {"kind": "all"}
ONE = {"process": "web-1:7:0000abcd", "key": "7f-12", "route": "/slow/"}


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was interrupted; all of it was running."""
    found: list[tuple[str, str]] = []

    def interrupt(process: str, key: str) -> bool:
        found.append((process, key))
        return True

    monkeypatch.setattr(query, "interrupt", interrupt)
    return found


@pytest.fixture
def purged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The orders that were carried out."""
    found: list[Any] = []

    def purge(order: Any) -> asking.Purge:
        found.append(order)
        return asking.Purge(2, True, "")

    monkeypatch.setattr(asking, "purge", purge)
    return found


def log() -> Any:
    """The admin's log. Its model can be imported in a project with the admin only."""
    return apps.get_model("admin", "LogEntry").objects


def said(response: Any) -> str:
    """The messages on the page that a redirect leads to."""
    return " ".join(str(message) for message in response.context["messages"])


@pytest.mark.parametrize(("path", "data"), [(INTERRUPT, ONE), (PURGE, ALL)])
def test_seeing_is_not_acting(
    viewer: Client, clerk: Client, interrupted: list[Any], purged: list[Any], path: str, data: dict[str, str]
) -> None:
    for client in (viewer, clerk):
        assert client.post(path, {**data, "confirmed": "1"}).status_code == 403
    assert interrupted == purged == []


@pytest.mark.parametrize("path", [INTERRUPT, PURGE])
def test_a_link_changes_nothing(manager: Client, interrupted: list[Any], purged: list[Any], path: str) -> None:
    response = manager.get(path, {**ONE, **ALL, "confirmed": "1"})
    assert response.status_code == 405
    assert interrupted == purged == []


def test_another_site_cannot_post(db: None, project: object, interrupted: list[Any]) -> None:
    client = client_of(make_user("boss", "view_dashboard", "manage_dashboard"), enforce_csrf_checks=True)
    assert client.post(INTERRUPT, {**ONE, "confirmed": "1"}).status_code == 403
    assert interrupted == []


def test_first_there_is_a_question_which_repeats_the_form(manager: Client, interrupted: list[Any]) -> None:
    response = manager.post(INTERRUPT, ONE)
    assert response.status_code == 200
    assert "/slow/" in response.text
    assert 'name="key" value="7f-12"' in response.text
    assert 'name="confirmed"' in response.text
    assert interrupted == []
    assert not log().exists()


def test_interruption_is_carried_out_told_and_logged(manager: Client, interrupted: list[Any]) -> None:
    response = manager.post(f"{INTERRUPT}?period=6h", {**ONE, "confirmed": "1"}, follow=True)
    assert response.redirect_chain == [(f"{PREFIX}live/?period=6h", 302)]
    assert interrupted == [("web-1:7:0000abcd", "7f-12")]
    assert "was interrupted" in said(response)
    entry = log().get()
    assert entry.user.username == "manager"
    assert entry.object_repr == "/slow/"
    assert entry.change_message == "Interrupted /slow/ in web-1:7:0000abcd."
    assert "/slow/" in manager.get("/admin/").text


def test_request_that_has_ended_is_not_claimed_to_be_interrupted(
    manager: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "interrupt", lambda process, key: False)
    response = manager.post(INTERRUPT, {**ONE, "confirmed": "1"}, follow=True)
    assert "has ended already" in said(response)
    assert not log().exists()


@pytest.mark.parametrize(
    ("path", "data"),
    [(INTERRUPT, {}), (INTERRUPT, {"process": "p"}), (PURGE, {}), (PURGE, {"kind": "url", "url": " "})],
)
def test_what_says_nothing_does_nothing(
    manager: Client, interrupted: list[Any], purged: list[Any], path: str, data: dict[str, str]
) -> None:
    response = manager.post(path, {**data, "confirmed": "1"}, follow=True)
    assert "Nothing was done" in said(response)
    assert interrupted == purged == []


@pytest.mark.parametrize(
    ("data", "order", "logged"),
    [
        (ALL, {"all": True}, "everything"),
        ({"kind": "url", "url": " https://x.example/a/ "}, {"urls": ["https://x.example/a/"]}, "https://x.example/a/"),
        ({"kind": "tags", "tags": "book:1, book:2 book:1"}, {"tags": ["book:1", "book:2"]}, "book:1, book:2"),
    ],
)
def test_purges_are_carried_out_told_and_logged(
    manager: Client, purged: list[Any], data: dict[str, str], order: dict[str, Any], logged: str
) -> None:
    assert manager.post(PURGE, data).status_code == 200
    assert purged == []
    response = manager.post(PURGE, {**data, "confirmed": "1"}, follow=True)
    assert purged == [order]
    assert f"Purged: {logged}." in said(response)
    assert log().get().change_message == f"Purged from the response cache: {logged}."


def test_purge_that_the_shared_store_did_not_take_says_so(manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "purge", lambda order: asking.Purge(1, False, ""))
    response = manager.post(PURGE, {**ALL, "confirmed": "1"}, follow=True)
    assert "out of order" in said(response)
    assert log().count() == 1


def test_purge_of_what_is_no_address_says_so_and_is_not_logged(manager: Client) -> None:
    response = manager.post(PURGE, {"kind": "url", "url": "not an address", "confirmed": "1"}, follow=True)
    assert "Nothing was purged" in said(response)
    assert not log().exists()


def test_purging_without_a_cache_says_so(manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "engine", lambda: None)
    response = manager.post(PURGE, {**ALL, "confirmed": "1"}, follow=True)
    assert "no process uses the response cache" in said(response)
    assert not log().exists()


class TestWithTheRealCache:
    """The response cache of this process, asked as every other would be."""

    @pytest.fixture(autouse=True)
    def _engine(self, project: object) -> Iterator[None]:
        cache.reset()
        yield
        cache.reset()

    def test_purge_reaches_it(self, manager: Client) -> None:
        engine = cache.engine()
        assert engine is not None
        before = engine.tags.numbers()
        manager.post(PURGE, {"kind": "tags", "tags": "book:1", "confirmed": "1"})
        assert engine.tags.numbers() != before

    def test_question_says_how_much_would_be_hit(self, manager: Client) -> None:
        assert "It hits 0 pages in memory." in manager.post(PURGE, ALL).text

    def test_address_is_explained(self, viewer: Client) -> None:
        text = viewer.get(f"{PREFIX}cache/", {"explain": "http://testserver/works/?page=2"}).text
        assert "http://testserver/works/?page=2" in text
        assert "Nobody has asked for it yet, or its answer was not kept." in text

    def test_process_that_knows_most_explains(self, monkeypatch: pytest.MonkeyPatch) -> None:
        strange, refused, kept = {"stored": False}, {"stored": False, "last_refusal": "csrf"}, {"stored": True}
        for answers in ([strange, refused], [refused, kept], [strange, kept]):
            replies = [{"enabled": True, "explain": each} for each in answers]
            monkeypatch.setattr(asking, "ask", lambda message, replies=replies: replies)
            assert asking.explain("/") == answers[1]

    def test_what_is_no_address_is_said_to_be_none(self, viewer: Client) -> None:
        assert viewer.get(f"{PREFIX}cache/", {"explain": "http://[/"}).status_code == 200

    def test_largest_pages_of_all_processes_are_each_shown_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entries = [{"key": "a", "bytes": 5, "route": "/a/"}, {"key": "b", "bytes": 9}, {"key": "a", "bytes": 5}]
        monkeypatch.setattr(answering, "answer", lambda message: {"enabled": True, "largest": entries})
        assert [entry["bytes"] for entry in asking.largest(5)] == [9, 5]


def test_running_request_is_interrupted_for_real(manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's request is on the live screen, and the button's form ends it by way of the server's provider."""
    from django_wsgiperf.metrics.middleware import RequestTimingMiddleware

    began, asked, ended = threading.Event(), threading.Event(), threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        began.set()
        assert asked.wait(60)
        return HttpResponse("stopped")

    def run() -> None:
        request = HttpRequest()
        request.method, request.path_info = "GET", "/long/"
        RequestTimingMiddleware(view)(request).close()
        ended.set()

    def interrupt(thread_id: int, still_runs: Any) -> bool:
        asked.set()
        return bool(still_runs())

    thread = threading.Thread(target=run, name="long-request")
    monkeypatch.setitem(providers._providers, providers.INTERRUPT, interrupt)
    monkeypatch.setitem(providers._providers, providers.SLOTS, lambda: {thread.ident: (1, True)})
    thread.start()
    try:
        assert began.wait(60)
        (record,) = [each for each in pipeline.running.values() if each.thread_id == thread.ident]
        text = manager.get(f"{PREFIX}live/").text
        key = f"{thread.ident:x}-{record.began_ns:x}"
        assert f'name="key" value="{key}"' in text
        form = {"process": pipeline.instance(), "key": key, "confirmed": "1"}
        assert "was interrupted" in said(manager.post(INTERRUPT, form, follow=True))
        assert ended.wait(60)
    finally:
        asked.set()
        thread.join(60)
