"""Nobody gets another's page: what Django's own parts put into responses, and the ways in which caches leaked it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib import messages
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import FileResponse, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.utils import timezone, translation
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_cookie

from django_wsgiperf.cache.decorators import cache_response

from . import doors
from .doors import Answer, Site, page
from .fakes import eventually

LANGUAGES = [("en", "English"), ("de", "German"), ("pt-br", "Brazilian Portuguese")]


@pytest.fixture
def full(door: str) -> Iterator[Site]:
    """A site with the middleware of a new Django project, behind each door in turn."""
    with doors.site(door, MIDDLEWARE=doors.MIDDLEWARE, USE_I18N=True, LANGUAGES=LANGUAGES, LANGUAGE_CODE="en") as made:
        yield made


def session_cookie(**values: Any) -> str:
    """A Cookie field of somebody who has logged in."""
    session = SessionStore()
    session.update(values)
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def detail(answer: Answer) -> str:
    return answer.cache.rpartition("detail=")[2]


# -- sessions


def test_session_of_one_is_never_shown_to_another(full: Site) -> None:
    @cache_response(ttl=60)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"Hello {request.session.get('name', 'stranger')}")

    full.view("/", view)
    alice, bob = session_cookie(name="Alice"), session_cookie(name="Bob")
    for _ in range(2):
        assert full.get("/", Cookie=alice).text == "Hello Alice"
        assert full.get("/", Cookie=bob).text == "Hello Bob"
        assert full.get("/").text == "Hello stranger"
    assert detail(full.get("/", Cookie=alice)) == "session"
    # All who have no session share one page.
    assert full.get("/", Cookie="_ga=GA1.2").is_hit


def test_session_read_without_saying_so_is_noticed(full: Site) -> None:
    """A response whose Vary was overwritten: ticket 15855 in another guise."""

    def view(request: HttpRequest) -> HttpResponse:
        response = page(request.session.get("name", "stranger"))
        del response.headers["Vary"]
        return response

    full.view("/", view)
    assert full.get("/", Cookie=session_cookie(name="Alice")).text == "Alice"
    assert full.get("/").text == "stranger"
    assert full.get("/", Cookie=session_cookie(name="Bob")).text == "Bob"


def test_new_session_is_not_handed_to_everybody(full: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.session["basket"] = full.renders("/")
        return page()

    full.view("/", view)
    first, second = full.get("/"), full.get("/")
    assert "set-cookie" in first.fields
    assert first.fields["set-cookie"] != second.fields["set-cookie"]
    assert full.renders("/") == 2


def test_page_that_uses_no_session_is_shared_by_those_who_have_one(full: Site) -> None:
    full.view("/", lambda request: page("for all"))
    full.get("/", Cookie=session_cookie(name="Alice"))
    assert full.get("/", Cookie=session_cookie(name="Bob")).is_hit
    assert full.get("/").is_hit


def test_view_inside_djangos_cache_page_is_not_kept_with_somebodys_cookie(full: Site) -> None:
    full.view("/", cache_page(60)(vary_on_cookie(lambda request: page("for all", None))))
    assert detail(full.get("/", Cookie=session_cookie(name="Alice"))) == "private-cookie"
    full.get("/")
    assert full.get("/").is_hit


# -- CSRF tokens, messages, cookies, nonces


def test_csrf_token_of_one_is_never_shown_to_another(full: Site) -> None:
    full.view("/", cache_response(ttl=60)(lambda request: HttpResponse(get_token(request))))
    first, second = full.get("/"), full.get("/")
    assert detail(first) == detail(second) == "csrf"
    assert first.text != second.text
    assert "csrftoken" in second.fields["set-cookie"]


def test_csrf_cookie_alone_tells_no_pages_apart(full: Site) -> None:
    full.view("/", vary_on_cookie(lambda request: page("for all")))
    full.get("/", Cookie="csrftoken=" + "a" * 32)
    assert full.get("/", Cookie="csrftoken=" + "b" * 32).is_hit


def test_flash_message_reaches_nobody_else(full: Site) -> None:
    """CookieStorage reads its cookie without Vary, and deletes it: 1.3 of Django's own middleware order."""

    def add(request: HttpRequest) -> HttpResponse:
        messages.info(request, "Your order 17 is on its way")
        return HttpResponse("added")

    def show(request: HttpRequest) -> HttpResponse:
        return page("; ".join(map(str, messages.get_messages(request))) or "none")

    full.view("/add", add)
    full.view("/", show)
    cookie = full.get("/add").fields["set-cookie"].partition(";")[0]
    shown = full.get("/", Cookie=cookie)
    assert (shown.text, shown.cache) == ("Your order 17 is on its way", "fwd=bypass; detail=bypass-cookie")
    assert full.get("/").text == "none"
    assert full.get("/").is_hit
    # And who has a message gets to see it, though the page is stored.
    assert full.get("/", Cookie=cookie).text == "Your order 17 is on its way"


def test_message_shown_in_the_request_that_made_it_reaches_nobody_else(full: Site) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        messages.info(request, f"You are visitor {full.renders('/')}")
        return page("; ".join(map(str, messages.get_messages(request))))

    full.view("/", view)
    assert detail(full.get("/")) == "messages"
    assert full.get("/").text == "You are visitor 2"


@pytest.mark.parametrize("vary", [None, "Cookie", "Accept-Language , cookie"])
def test_response_that_sets_a_cookie_is_never_kept(full: Site, vary: str | None) -> None:
    """CVE-2026-48588: whatever its Vary, and whatever other cookies the request had."""

    def view(request: HttpRequest) -> HttpResponse:
        response = page()
        response.set_cookie("visitor", str(full.renders("/")))
        if vary is not None:
            response["Vary"] = vary
        return response

    full.view("/", view)
    for number in (1, 2):
        answer = full.get("/", Cookie="unrelated=1")
        assert detail(answer) == "set-cookie"
        assert f"visitor={number}" in answer.fields["set-cookie"]


def test_csp_nonce_is_never_sent_twice(door: str) -> None:
    with doors.site(door, MIDDLEWARE=["tests.cache.middlewares.csp_middleware", *doors.PLAIN_MIDDLEWARE]) as site:
        site.view("/used", lambda request: page(request._csp_nonce))
        site.view("/unused", lambda request: page("no script"))
        assert [detail(site.get("/used")) for _ in range(2)] == ["csp-nonce"] * 2
        site.get("/unused")
        assert site.get("/unused").is_hit


def test_nonce_in_the_policys_header_is_enough(full: Site) -> None:
    full.view("/", lambda request: page(Content_Security_Policy="script-src 'nonce-abc'"))
    assert detail(full.get("/")) == "csp-nonce"


# -- credentials


def test_answer_to_credentials_is_nobody_elses(full: Site) -> None:
    full.view("/", lambda request: page(request.headers.get("Authorization", "nobody")))
    assert detail(full.get("/", Authorization="Bearer alice")) == "authorization"
    assert full.get("/").text == "nobody"
    assert full.get("/", Authorization="Bearer bob").text == "Bearer bob"
    assert full.get("/").is_hit


def test_answer_to_credentials_that_is_explicitly_public_is_shared(full: Site) -> None:
    full.view("/", lambda request: page("for all", "public, max-age=60"))
    full.get("/", Authorization="Bearer alice")
    assert full.get("/", Authorization="Bearer bob").is_hit
    assert full.get("/").is_hit


# -- what Django's cache middleware reads otherwise than RFC 9111


@pytest.mark.parametrize(
    ("cache_control", "reason"),
    [
        ("Private, max-age=60", "private"),
        ("NO-STORE", "no-store"),
        ("max-age=60, no-cache", "no-cache"),
        ("s-maxage=0, max-age=60", "expired"),
        ("max-age='60'", "expired"),
    ],
)
def test_directives_are_read_as_directives(full: Site, cache_control: str, reason: str) -> None:
    full.view("/", lambda request: page(cache_control=cache_control))
    assert [detail(full.get("/")) for _ in range(2)] == [reason] * 2


@pytest.mark.parametrize("cache_control", ["max-age=60, x-private-hint=1", "s-maxage=60, max-age=0"])
def test_nothing_is_forbidden_by_a_part_of_a_word(full: Site, cache_control: str) -> None:
    full.view("/", lambda request: page(cache_control=cache_control))
    full.get("/")
    assert full.get("/").is_hit


@pytest.mark.parametrize("vary", ["*", "Accept, *", " * "])
def test_vary_on_everything_is_never_kept(full: Site, vary: str) -> None:
    full.view("/", lambda request: page(Vary=vary))
    assert [detail(full.get("/")) for _ in range(2)] == ["vary-star"] * 2


@pytest.mark.parametrize("expires", ["0", "Mon, 23 Nov 2020 10:00:00 GMT"])
def test_expired_response_is_not_kept(full: Site, expires: str) -> None:
    full.view("/", lambda request: page(cache_control=None, Expires=expires))
    assert detail(full.get("/")) == "expired"


def test_age_of_a_response_from_elsewhere_counts(full: Site) -> None:
    full.view("/old", lambda request: page(cache_control="max-age=3600", Age="10000"))
    full.view("/young", lambda request: page(cache_control="max-age=3600", Age="100"))
    assert detail(full.get("/old")) == "expired"
    full.get("/young")
    assert full.get("/young").fields["age"] == "100"


def test_fields_are_told_apart_from_their_neighbours(full: Site) -> None:
    full.view("/", lambda request: page(f"{request.headers.get('X-A')}|{request.headers.get('X-B')}", Vary="X-A, X-B"))
    assert full.get("/", X_A="x", X_B="yz").text == "x|yz"
    assert full.get("/", X_A="xy", X_B="z").text == "xy|z"
    assert full.get("/", X_A="x").text == "x|None"
    assert full.get("/", X_A="x", X_B="").text == "x|"
    assert full.get("/", X_A="x", X_B="-,").text == "x|-,"


# -- whose site, which language, which time


def test_host_that_django_refuses_is_neither_answered_nor_kept(full: Site) -> None:
    full.view("/", lambda request: page(request.get_host()))
    full.get("/")
    for host in ("evil.example", "shop.example.evil.example", "shop_example", "shop.example/x"):
        refused = full.get("/", Host=host)
        assert (refused.status, detail(refused)) == (400, "host")
    assert full.get("/", Host="SHOP.example").is_hit


@pytest.mark.parametrize("trusted", [True, False])
def test_forwarded_host_and_scheme_count_as_django_counts_them(door: str, trusted: bool) -> None:
    more = {"USE_X_FORWARDED_HOST": True, "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}
    with doors.site(door, ALLOWED_HOSTS=[".shop.example"], **(more if trusted else {})) as site:
        site.view("/", lambda request: page(request.build_absolute_uri("/")))
        plain = site.get("/")
        told = site.get("/", X_Forwarded_Host="www.shop.example", X_Forwarded_Proto="https")
        assert plain.text == "http://shop.example/"
        assert (told.text, told.is_hit) == (
            ("https://www.shop.example/", False) if trusted else ("http://shop.example/", True)
        )
        refused = site.get("/", X_Forwarded_Host="evil.example")
        assert refused.status == (400 if trusted else 200)


def test_language_is_that_of_the_cookie_or_negotiated(full: Site) -> None:
    full.view("/", lambda request: page(translation.get_language()))
    chosen = [
        ({}, "en"),
        ({"Accept_Language": "de-AT, en;q=0.5"}, "de"),
        ({"Accept_Language": "de"}, "de"),
        ({"Cookie": "django_language=de"}, "de"),
        ({"Cookie": "django_language=pt-br", "Accept_Language": "de"}, "pt-br"),
        ({"Cookie": "django_language=xx", "Accept_Language": "de"}, "de"),
        ({"Accept_Language": "pt"}, "pt-br"),
    ]
    for _ in range(2):
        assert [full.get("/", **headers).text for headers, _ in chosen] == [language for _, language in chosen]
    assert full.renders("/") == 3


def test_cookie_that_django_reads_differently_poisons_no_language(full: Site) -> None:
    full.view("/", lambda request: page(translation.get_language()))
    # Django takes a no-break space off the name of a cookie, in UTF-8 or, under ASGI, as one byte.
    for blank in ("\u00a0", "\u00a0".encode().decode("latin-1"), "\x1f"):
        poisoned = full.get("/", Cookie=f"{blank}django_language=de", Accept_Language="en")
        assert poisoned.cache == "fwd=bypass; detail=bypass-cookie"
    assert full.get("/", Accept_Language="en").text == "en"


@pytest.mark.parametrize("accepted", ["gzip;q=0", "identity, gzip; q=0.000", "gzip please"])
def test_page_encoded_for_who_cannot_read_it_is_nobody_elses(door: str, accepted: str) -> None:
    middleware = ["django.middleware.gzip.GZipMiddleware", *doors.PLAIN_MIDDLEWARE]
    with doors.site(door, {"COMPRESS": []}, MIDDLEWARE=middleware) as site:
        site.view("/", lambda request: page("x" * 1000))
        poisoned = site.get("/", Accept_Encoding=accepted)
        assert (poisoned.fields["content-encoding"], detail(poisoned)) == ("gzip", "unknown-coding")
        assert [site.get("/", Accept_Encoding="identity").text for _ in range(2)] == ["x" * 1000] * 2
        assert site.get("/", Accept_Encoding="gzip, br").fields["content-encoding"] == "gzip"
        assert site.get("/", Accept_Encoding="br, gzip;q=0.5").is_hit


@pytest.mark.parametrize("blank", ["\u00a0", "\u00a0".encode().decode("latin-1"), "\x0b", "\x1f "])
def test_cookie_that_django_reads_differently_poisons_no_variant(full: Site, blank: str) -> None:
    @cache_response(ttl=60, vary_cookies=["currency"])
    def prices(request: HttpRequest) -> HttpResponse:
        return page(request.COOKIES.get("currency", "EUR"), None)

    full.view("/", prices)
    full.get("/", Cookie=f"theme=dark;{blank}currency=USD")
    assert full.get("/").text == "EUR"
    assert full.get("/", Cookie="theme=dark").is_hit


def test_page_in_a_language_that_the_key_does_not_know_of_is_not_kept(door: str) -> None:
    own = "tests.cache.middlewares.LanguageOfAHeader"
    middleware = [own if "Locale" in dotted else dotted for dotted in doors.MIDDLEWARE]
    with doors.site(door, MIDDLEWARE=middleware, USE_I18N=True, LANGUAGES=LANGUAGES, LANGUAGE_CODE="en") as site:
        site.view("/", lambda request: page(translation.get_language()))
        german = site.get("/", X_Language="de")
        assert (german.text, german.cache) == ("de", "fwd=uri-miss; detail=language")
        english = [site.get("/") for _ in range(2)]
        assert [answer.text for answer in english] == ["en", "en"]
        assert english[1].is_hit
    translation.deactivate()


def test_stale_page_is_made_anew_in_its_own_language(full: Site) -> None:
    full.view(
        "/",
        lambda request: page(
            f"{translation.get_language()}{full.renders('/')}", "max-age=60, stale-while-revalidate=60"
        ),
    )
    full.get("/", Cookie="django_language=de")
    full.clock.advance(61)
    assert full.get("/", Cookie="django_language=de; theme=dark").text == "de1"
    eventually(lambda: full.engine.counters.refreshes == 1)
    assert full.get("/", Accept_Language="de").text == "de2"
    assert doors.pages.last("/").COOKIES == {"django_language": "de"}


def test_page_made_in_another_time_zone_is_not_kept(door: str) -> None:
    middleware = ["tests.cache.middlewares.zone_of_the_visitor", *doors.PLAIN_MIDDLEWARE]
    for kept in (False, True):
        with doors.site(door, {"TIME_ZONES": kept}, MIDDLEWARE=middleware, TIME_ZONE="UTC", USE_TZ=True) as site:
            site.view("/", lambda request: page(timezone.get_current_timezone_name()))
            away = site.get("/", Cookie="zone=Asia/Tokyo")
            assert away.text == "Asia/Tokyo"
            assert away.cache.rpartition("; ")[2] == ("stored" if kept else "detail=time-zone")
            assert site.get("/").text == ("Asia/Tokyo" if kept else "UTC")
    timezone.deactivate()


# -- who is known by other means than a cookie


def test_session_that_came_without_its_cookie_is_somebodys_too(door: str) -> None:
    own = "tests.cache.middlewares.SessionOfAHeader"
    key = session_cookie(name="alice").partition("=")[2]
    with doors.site(door, MIDDLEWARE=[own, *doors.PLAIN_MIDDLEWARE]) as site:
        site.view("/", lambda request: page(request.session.get("name", "nobody")))
        alice = site.get("/", X_Session=key)
        assert (alice.text, alice.cache) == ("alice", "fwd=uri-miss; detail=session")
        assert [site.get("/").text for _ in range(2)] == ["nobody", "nobody"]
        assert site.renders("/") == 2


def test_page_for_a_user_who_is_logged_in_without_a_session_is_not_kept(door: str) -> None:
    own = "tests.cache.middlewares.user_of_a_header"
    with doors.site(door, MIDDLEWARE=[own, *doors.PLAIN_MIDDLEWARE]) as site:
        site.view("/", lambda request: page(request.user.name or "nobody"))
        site.view("/public/", lambda request: page("for all"))
        for lazy in ({}, {"X_Lazy": "1"}):
            alice = site.get("/", X_User="alice", **lazy)
            assert (alice.text, alice.cache) == ("alice", "fwd=uri-miss; detail=session")
        # Who was never asked for is in no page.
        assert site.get("/public/", X_User="alice", X_Lazy="1").cache == "fwd=uri-miss; stored"
        assert [site.get("/").text for _ in range(2)] == ["nobody", "nobody"]
        assert site.renders("/") == 3


# -- what is never for others


def test_excluded_paths_and_the_admin_are_never_kept(door: str) -> None:
    with doors.site(
        door,
        {"EXCLUDE": ["/account/"]},
        ROOT_URLCONF="tests.cache.admin_urls",
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.admin", "django.contrib.messages"],
    ) as site:
        for path in ("/account/orders", "/back-office/help/", "/partners/help/"):
            site.view(path, "mine")
            assert [detail(site.get(path)) for _ in range(2)] == ["excluded"] * 2


def test_the_admin_is_known_in_every_language_and_wherever_the_site_is_mounted(door: str) -> None:
    with doors.site(
        door,
        ROOT_URLCONF="tests.cache.admin_i18n_urls",
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.admin", "django.contrib.messages"],
        MIDDLEWARE=doors.MIDDLEWARE,
        USE_I18N=True,
        LANGUAGES=LANGUAGES,
    ) as site:
        site.view("/help/", "mine")
        for path in ("/de/verwaltung-ö/help/", "/en/verwaltung-ö/help/"):
            asked = path if door == "async" else path.encode().decode("latin-1")
            assert [detail(site.get(asked)) for _ in range(2)] == ["excluded"] * 2
        is_excluded = site.engine.site.is_excluded
        encoded = "/de/verwaltung-ö/".encode().decode("latin-1")
        assert is_excluded(f"/shop{encoded}", len("/shop"))
        assert not is_excluded(f"/shop{encoded}")
        assert not is_excluded("/de/")


@pytest.mark.parametrize("status", [404, 500])
def test_pages_for_developers_are_not_kept(door: str, status: int) -> None:
    with doors.site(door, DEBUG=True) as site:
        site.view("/", lambda request: page("traceback", status=status))
        assert detail(site.get("/")) == "debug"


def test_body_that_is_too_large_is_no_stream(door: str) -> None:
    with doors.site(door, {"MAX_BODY_BYTES": 100}) as site:
        site.view("/", lambda request: page("x" * 101))
        assert [detail(site.get("/")) for _ in range(2)] == ["body-too-large"] * 2


@pytest.mark.parametrize("door", ["wsgi", "middleware"])  # Django warns of files in asynchronous responses
def test_file_is_not_kept(site: Site) -> None:
    def view(request: HttpRequest) -> FileResponse:
        return FileResponse(open(__file__, "rb"), headers={"Cache-Control": "max-age=60"})

    site.view("/", view)
    assert detail(site.get("/")) == "streaming"
    with open(__file__, "rb") as file:
        assert site.get("/").body == file.read()


def test_request_with_a_body_or_an_expectation_is_the_applications(site: Site) -> None:
    site.view("/", lambda request: page(request.body.decode()))
    site.get("/")
    assert detail(site.get("/", body=b"query")) == "request-body"
    assert detail(site.get("/", If_Match='"1"')) == "precondition"


def test_cookies_of_the_sites_own_can_be_named(door: str) -> None:
    with doors.site(door, {"PRIVATE_COOKIES": ["account"], "BYPASS_COOKIES": ["preview"]}) as site:
        site.view("/", vary_on_cookie(lambda request: page("for all")))
        assert detail(site.get("/", Cookie="account=1")) == "private-cookie"
        assert site.get("/", Cookie="preview=1").cache == "fwd=bypass; detail=bypass-cookie"
        site.get("/")
        assert site.get("/").is_hit


def test_identity_of_an_exchange_is_not_replayed(site: Site) -> None:
    site.view("/", lambda request: page(X_Request_ID="1", Server_Timing="total;dur=1"))
    assert site.get("/").fields["x-request-id"] == "1"
    hit = site.get("/")
    assert hit.is_hit
    assert not {"x-request-id", "server-timing"} & set(hit.fields)
