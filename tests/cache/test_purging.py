"""Purges by address, tag and altogether: hard and soft, at the commit, and by saving a row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.test import override_settings
from django.test.utils import isolate_apps

from django_wsgiperf.cache.decorators import cache_response
from django_wsgiperf.cache.purging import Purged, purge, purge_all, purge_on_save

from . import doors
from .doors import Site, page
from .fakes import eventually


@pytest.fixture
def door() -> str:
    """How a page is purged does not depend on the door."""
    return "wsgi"


@pytest.fixture
def books(site: Site) -> Site:
    """Pages with tags, each of them stored."""
    for number in ("1", "2"):
        view = cache_response(ttl=60, swr=60, tags=["books", f"book:{number}"])(
            lambda request: HttpResponse(str(site.renders(request.path)))
        )
        site.view(f"/books/{number}/", view)
        site.get(f"/books/{number}/")
    return site


def kept(site: Site, *targets: str, **headers: str) -> list[bool]:
    return [site.get(target, **headers).is_hit for target in targets]


def test_tag_purges_what_carries_it(books: Site) -> None:
    assert purge(tags=["book:1"]) == Purged(everywhere=True)
    assert kept(books, "/books/1/", "/books/2/") == [False, True]
    purge(tags=["books"])
    assert kept(books, "/books/1/", "/books/2/") == [False, False]


def test_page_is_kept_with_all_of_its_tags_or_not_at_all(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.wsgiperf.cache.tag(*(f"book:{number}" for number in range(int(request.GET["books"]))))  # type: ignore[attr-defined]
        return page(site.renders("/"))

    site.view("/", view)
    assert site.get("/?books=1000").cache == "fwd=uri-miss; stored"
    purge(tags=["book:999"])
    assert not site.get("/?books=1000").is_hit
    assert site.get("/?books=1001").cache == "fwd=uri-miss; detail=too-many-tags"


def test_tags_of_later_answers_do_not_gather_without_end(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        first = 600 * (site.renders("/") - 1)
        request.wsgiperf.cache.tag(*(f"book:{number}" for number in range(first, first + 600)))  # type: ignore[attr-defined]
        if request.headers.get("If-None-Match") == '"1"':
            return HttpResponseNotModified(headers={"ETag": '"1"', "Cache-Control": "max-age=60"})
        return page("books", ETag='"1"')

    site.view("/", view)
    assert site.get("/").cache == "fwd=uri-miss; stored"
    site.clock.advance(61)
    again = site.get("/")
    assert (again.status, again.text, again.cache) == (200, "books", "fwd=stale; fwd-status=304")
    assert site.get("/").cache == "fwd=uri-miss; stored"


def test_address_purges_all_its_variants_and_no_other(books: Site) -> None:
    books.view("/kinds", lambda request: page(Vary="X-Kind"))
    for kind in ("a", "b"):
        books.get("/kinds", X_Kind=kind)
    purge(url="/kinds")
    assert [kept(books, "/kinds", X_Kind=kind) for kind in ("a", "b")] == [[False], [False]]
    assert kept(books, "/books/1/") == [True]


def test_address_may_name_its_host_or_not() -> None:
    with doors.site("wsgi", ALLOWED_HOSTS=["a.example", "b.example"]) as site:
        site.view("/", lambda request: page(request.get_host()))
        hosts = ("a.example", "b.example")
        for host in hosts:
            site.get("/", Host=host)
        purge(url="http://a.example/")
        assert [kept(site, "/", Host=host) for host in hosts] == [[False], [True]]
        purge(url="/")
        assert [kept(site, "/", Host=host) for host in hosts] == [[False], [False]]


def test_address_is_for_all_languages() -> None:
    languages = [("en", "English"), ("de", "German")]
    with doors.site(
        "wsgi", MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"], USE_I18N=True, LANGUAGES=languages
    ) as site:
        site.view("/", lambda request: page())
        for language in ("en", "de"):
            site.get("/", Accept_Language=language)
        purge(url="/")
        assert [kept(site, "/", Accept_Language=language) for language in ("en", "de")] == [[False], [False]]


def test_address_is_purged_by_what_matters_of_its_query(site: Site) -> None:
    site.view("/search", lambda request: page(No_Vary_Search='params=("page-view")'))
    site.get("/search?q=1&page-view=7&utm_source=mail")
    purge(url="/search?q=1&page-view=8&utm_campaign=x")
    assert kept(site, "/search?q=1") == [False]


def test_address_with_characters_beyond_ascii(site: Site) -> None:
    target = "/b\xfccher/".encode().decode("latin-1")
    for written in ("/bücher/", "/b%C3%BCcher/", "http://shop.example/b%c3%bccher/"):
        site.view("/bücher/", "text")
        site.get(target)
        assert site.get(target).is_hit
        purge(url=written)
        assert not site.get(target).is_hit


def test_everything_is_purged(books: Site) -> None:
    purge_all()
    assert kept(books, "/books/1/", "/books/2/") == [False, False]
    assert kept(books, "/books/1/", "/books/2/") == [True, True]


@pytest.mark.parametrize("everything", [True, False])
def test_soft_purge_makes_stale_and_not_gone(books: Site, everything: bool) -> None:
    if everything:
        purge_all(soft=True)
    else:
        purge(tags=["book:1"], soft=True)
    stale = books.get("/books/1/")
    assert (stale.text, stale.cache) == ("1", "hit; detail=stale")
    eventually(lambda: books.engine.counters.refreshes == 1)
    assert (books.get("/books/1/").text, books.get("/books/1/").cache) == ("2", "hit")


def test_page_that_was_being_made_is_not_used_after_the_purge(site: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        text = str(site.renders("/"))
        if text == "1":
            purge(tags=["book:1"])
        return HttpResponse(text)

    site.view("/", cache_response(ttl=60, tags=["book:1"])(view))
    assert [site.get("/").text for _ in range(3)] == ["1", "2", "2"]


@pytest.mark.django_db(transaction=True)
def test_purge_waits_for_the_commit(books: Site) -> None:
    with transaction.atomic():
        purged = purge(tags=["book:1"])
        assert (purged.deferred, purged.everywhere) == (True, False)
        assert kept(books, "/books/1/") == [True]
    assert purged.everywhere
    assert kept(books, "/books/1/") == [False]


@pytest.mark.django_db(transaction=True)
def test_purge_of_what_was_rolled_back_is_none(books: Site) -> None:
    with transaction.atomic():
        purge(tags=["book:1"])
        transaction.set_rollback(True)
    assert kept(books, "/books/1/") == [True]


@pytest.mark.django_db(transaction=True)
def test_purge_need_not_wait(books: Site) -> None:
    with transaction.atomic():
        assert not purge(tags=["book:1"], on_commit=False).deferred
        assert kept(books, "/books/1/") == [False]


@pytest.fixture
def by_hand(transactional_db: None) -> Iterator[None]:
    """Transactions that the project begins and ends itself."""
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


@pytest.mark.usefixtures("by_hand")
def test_purge_in_a_transaction_managed_by_hand_is_made_now_and_at_the_commit(books: Site) -> None:
    purged = purge(tags=["book:1"])
    assert purged.deferred
    assert kept(books, "/books/1/") == [False], "made anew, from what others see until the commit"
    assert kept(books, "/books/1/") == [True]
    transaction.commit()
    assert purged.everywhere
    assert kept(books, "/books/1/") == [False]
    transaction.commit()
    assert kept(books, "/books/1/", "/books/2/") == [True, True], "each is made once"


@pytest.mark.usefixtures("by_hand")
def test_atomic_blocks_in_a_transaction_managed_by_hand_wait_for_its_commit_too(books: Site) -> None:
    with transaction.atomic():
        purge(tags=["book:1"])
        purge(tags=["book:2"], on_commit=False)
        assert kept(books, "/books/1/", "/books/2/") == [False, False]
    assert kept(books, "/books/1/") == [True]
    transaction.commit()
    assert kept(books, "/books/1/", "/books/2/") == [False, True]


@pytest.mark.usefixtures("by_hand")
def test_what_is_rolled_back_by_hand_is_not_purged_at_the_next_commit(books: Site) -> None:
    purge(tags=["book:1"])
    transaction.rollback()
    sid = transaction.get_connection().savepoint()  # Django 6.1 has another name for that of transaction.
    with contextlib.suppress(LookupError), transaction.atomic():
        purge(tags=["book:2"])
        raise LookupError
    transaction.savepoint_commit(sid)
    assert kept(books, "/books/1/", "/books/2/") == [False, False]
    transaction.commit()
    assert kept(books, "/books/1/", "/books/2/") == [True, True]


@pytest.mark.usefixtures("by_hand")
def test_a_commit_that_somebody_watches_is_given_back_to_him(books: Site) -> None:
    connection, commits = transaction.get_connection(), []
    commit = connection.commit

    def watched() -> None:
        commits.append(1)
        commit()

    connection.commit = watched  # type: ignore[method-assign]
    try:
        for number in ("1", "2"):
            purge(tags=[f"book:{number}"])
        assert kept(books, "/books/1/", "/books/2/") == [False, False]
        transaction.commit()
        assert kept(books, "/books/1/", "/books/2/") == [False, False]
        assert (connection.commit, commits) == (watched, [1])
    finally:
        del connection.commit


@pytest.mark.django_db(transaction=True)
def test_purge_connects_to_no_database(books: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = transaction.get_connection()
    monkeypatch.setattr(connection, "connection", None)
    monkeypatch.setattr(connection, "connect", lambda: pytest.fail("it connects"))
    assert not purge(tags=["book:1"]).deferred


@pytest.mark.django_db(transaction=True)
def test_saving_or_deleting_a_row_purges_its_pages(site: Site) -> None:
    group = Group.objects.create(name="readers")
    site.view("/one", cache_response(ttl=60, tags=[f"auth.group:{group.pk}"])(lambda request: HttpResponse()))
    site.view("/all", cache_response(ttl=60, tags=["auth.group"])(lambda request: HttpResponse()))
    site.view("/other", cache_response(ttl=60, tags=["auth.group:0"])(lambda request: HttpResponse()))
    paths = ("/one", "/all", "/other")
    end = purge_on_save(Group)
    try:
        for change in (group.save, group.delete):
            for path in paths:
                site.get(path)
            with transaction.atomic():
                change()
                assert kept(site, *paths) == [True] * 3
            assert kept(site, *paths) == [False, False, True]
    finally:
        end()
    for path in paths:
        site.get(path)
    Group.objects.create(name="others")
    assert kept(site, *paths) == [True] * 3


@pytest.mark.django_db(transaction=True)
@isolate_apps("django.contrib.auth")
def test_row_is_saved_by_a_proxy_of_its_model_or_a_child_of_it_too(site: Site) -> None:
    class Team(Group):
        class Meta:
            proxy = True
            app_label = "auth"

    class Club(Group):
        class Meta:
            app_label = "auth"

    group = Group.objects.create(name="readers")
    views = {"/one": f"auth.group:{group.pk}", "/all": "auth.group"}
    for path, tag in views.items():
        site.view(path, cache_response(ttl=60, tags=[tag])(lambda request: HttpResponse()))
        site.get(path)
    end = purge_on_save(Group)
    try:
        Team.objects.get(pk=group.pk).save()
        assert kept(site, *views) == [False, False]
        with connection.schema_editor() as editor:
            editor.create_model(Club)
        try:
            club = Club.objects.create(name="club")
            assert kept(site, *views) == [True, False]
            club.delete()
            assert kept(site, *views) == [True, False]
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(Club)
        Team.objects.get(pk=group.pk).delete()
        assert kept(site, *views) == [False, False]
    finally:
        end()


@pytest.mark.django_db(transaction=True)
def test_tags_of_a_row_can_be_chosen(site: Site) -> None:
    site.view("/", cache_response(ttl=60, tags=["team:readers"])(lambda request: HttpResponse()))
    end = purge_on_save(Group, tags=lambda group: [f"team:{group.name}"])
    try:
        site.get("/")
        Group.objects.create(name="readers")
        assert kept(site, "/") == [False]
    finally:
        end()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("books/", "Write '/books/'"),
        ("ftp://shop.example/", "no scheme http or https"),
        ("http://shop.example:port/", "is no URL"),
        ("https:///books/", "no scheme http or https with a host"),
    ],
)
def test_what_is_no_address_is_refused(site: Site, url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        purge(url=url)


def test_what_is_no_list_is_refused(site: Site) -> None:
    with pytest.raises(TypeError, match="lists of texts"):
        purge(tags="book:1")
    with pytest.raises(TypeError, match="a tag is a text"):
        purge(tags=[1])  # type: ignore[list-item]


def test_purge_where_the_cache_is_off_is_none_to_make() -> None:
    with override_settings(WSGIPERF={"CACHE": {"ENABLED": False}}):
        assert purge(tags=["book:1"]).everywhere
        assert purge_all().everywhere


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("auth.Group",), "a model is a class, not 'auth.Group'"),
        ((Group, ["groups"]), r"tags is a function of what was saved, not \['groups'\]"),
    ],
)
def test_what_is_no_model_and_no_function_is_refused_at_once(arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        purge_on_save(*arguments)


@pytest.mark.django_db
def test_one_text_in_place_of_tags_is_not_taken_for_its_letters() -> None:
    end = purge_on_save(Group, tags=lambda group: "groups")
    try:
        with pytest.raises(TypeError, match="lists of texts"):
            Group.objects.create(name="staff")
    finally:
        end()
