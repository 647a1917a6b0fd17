"""Addresses, hosts and languages as Django itself understands them, read from its settings."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import override_settings
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf import conf
from django_wsgiperf.cache import runtime
from django_wsgiperf.cache.engine import Engine
from django_wsgiperf.cache.key import Keys
from django_wsgiperf.cache.site import Site

from .doors import environ

HOSTS = [
    "shop.example",
    "SHOP.example:8080",
    "www.shop.example",
    "evil.example",
    "shop.example.",
    "a b",
    "",
    "[::1]:80",
]
LANGUAGES = [("en", "English"), ("de", "German"), ("pt-br", "Brazilian"), ("zh-hant", "Chinese")]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    conf.forget()
    yield
    runtime.reset()


def made() -> Site:
    return Site(conf.current("CACHE").values)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("allowed", [["shop.example"], [".shop.example"], ["*"], []])
@pytest.mark.parametrize("debug", [True, False])
def test_hosts_are_those_that_django_takes(host: str, allowed: list[str], debug: bool) -> None:
    with override_settings(ALLOWED_HOSTS=allowed, DEBUG=debug):
        request = WSGIRequest(environ("/", fields={"Host": host}))
        try:
            taken = request.get_host() == host
        except Exception:
            taken = False
        site = made()
        assert site.allows(host) is taken
        assert site.host(request.META, "http") == host


@pytest.mark.parametrize("forwarded", [None, "www.shop.example", "evil.example"])
@pytest.mark.parametrize("proto", [None, "https", "http", "https, http", " https"])
@pytest.mark.parametrize("port", [None, "8443"])
@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_scheme_and_host_are_those_that_django_sees(
    forwarded: str | None, proto: str | None, port: str | None, trusts: bool, named: bool
) -> None:
    told = {"X-Forwarded-Host": forwarded, "X-Forwarded-Proto": proto, "X-Forwarded-Port": port}
    asked = environ("/", fields={name: value for name, value in told.items() if value is not None})
    if not named:
        del asked["HTTP_HOST"]
    settings: dict[str, Any] = {"ALLOWED_HOSTS": ["*"]}
    if trusts:
        settings |= {"USE_X_FORWARDED_HOST": True, "USE_X_FORWARDED_PORT": True}
        settings |= {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}
    with override_settings(**settings):
        request = WSGIRequest(dict(asked))
        site = made()
        found = site.request(asked)
        assert (found.scheme, found.host) == (request.scheme, request.get_host())


def test_what_clients_make_up_is_not_remembered() -> None:
    """Each of these is remembered as a whole by nobody: 300 requests of 60 KB leave less than one of them."""
    long = "x" * 20_000
    with override_settings(
        ALLOWED_HOSTS=["*"], USE_I18N=True, MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"]
    ):
        conf.forget()
        engine = runtime.engine()
        assert engine is not None

        def ask(number: int) -> None:
            fields = {
                "Host": f"{number}.{long}.example",
                f"X-{number}-{long}": "1",
                "Cookie": f"django_language={number}{long}",
            }
            made_up = environ(f"/{number}/{long}?q={number}{long}", fields=fields)
            assert engine.recall(made_up) is None
            request = engine.site.request(made_up)
            assert engine.site.allows(request.host)
            engine.site.keys.of_request(request)

        ask(0)
        tracemalloc.start()
        try:
            for number in range(1, 300):
                ask(number)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 60_000


def key_of(site: Site, path: str, query: str = "", host: str = "shop.example") -> bytes | None:
    address = ("http", host, path, query, "")
    return site.remembered(address) or site.known(address)


def test_an_address_is_worked_out_until_it_has_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    worked_out: list[str] = []
    unplaced = Keys.unplaced

    def counted(keys: Keys, path: str, query: str) -> bytes:
        worked_out.append(path)
        return unplaced(keys, path, query)

    monkeypatch.setattr(Keys, "unplaced", counted)
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        site = made()
        found = {key_of(site, "/a") for _ in range(5)}
        assert (len(found), worked_out) == (1, ["/a", "/a"])
        assert found != {key_of(site, "/b")}
        assert key_of(site, "/a", host="evil.example") is None


def test_of_addresses_that_never_come_again_little_is_remembered() -> None:
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        site = made()
        key_of(site, "/")
        tracemalloc.start()
        try:
            for number in range(20_000):
                key_of(site, "/", f"{number}")
            kept, _ = tracemalloc.get_traced_memory()
            for number in range(6_000):
                for _ in range(2):
                    key_of(site, "/", f"{number}")
            kept_twice, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 500_000
    assert kept_twice < 2_000_000


@given(
    st.sampled_from(["/", "/de/", "/pt-br/x", "/deutsch/", "/en"]),
    st.sampled_from([None, "de", "xx", "zh-hant", '"de"', ""]),
    st.sampled_from([None, "de", "de-AT;q=0.5, pt", "*", "zh-tw", "xx, en;q=0.1", ""]),
    st.sampled_from(["tests.cache.i18n_urls", "tests.cache.i18n_urls_without_default", "tests.urls"]),
)
def test_language_is_the_one_that_the_middleware_chooses(
    path: str, cookie: str | None, accepted: str | None, urlconf: str
) -> None:
    from django.http import HttpResponse
    from django.middleware.locale import LocaleMiddleware

    fields = {}
    if cookie is not None:
        fields["Cookie"] = f"theme=dark; django_language={cookie}"
    if accepted is not None:
        fields["Accept-Language"] = accepted
    chosen: list[str] = []

    def view(request: Any) -> HttpResponse:
        chosen.append(translation.get_language())
        return HttpResponse()

    with override_settings(
        USE_I18N=True,
        LANGUAGES=LANGUAGES,
        LANGUAGE_CODE="en",
        MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"],
        ROOT_URLCONF=urlconf,
    ):
        asked = environ(path, fields=fields)
        site = made()
        expected = site.keys.language_of(site.request(asked))
        assert site.keys.language_in(asked, path) == expected
        with translation.override(None):
            LocaleMiddleware(view)(WSGIRequest(dict(asked)))
    assert chosen == [expected]


@pytest.mark.parametrize("query", ["", "a=1&utm_source=x"])
@pytest.mark.parametrize("script", [None, "", "/shop"])
@pytest.mark.parametrize("locale", [True, False])
def test_fast_path_has_the_keys_of_the_slow_one(query: str, script: str | None, locale: bool) -> None:
    middleware = ["django.middleware.locale.LocaleMiddleware"] if locale else []
    with override_settings(
        ALLOWED_HOSTS=["*"], FORCE_SCRIPT_NAME=script, MIDDLEWARE=middleware, USE_I18N=True, LANGUAGES=LANGUAGES
    ):
        engine = Engine(conf.current("CACHE").values, made())
        for path in ("/books/", "/b\xc3\xbccher/", ""):
            asked = environ(f"{path}?{query}", fields={"Accept-Language": "de"})
            assert engine.primary(asked) == engine.site.keys.of_request(engine.site.request(asked))


def test_refused_host_has_no_key() -> None:
    with override_settings(ALLOWED_HOSTS=["shop.example"]):
        engine = Engine(conf.current("CACHE").values, made())
        assert engine.primary(environ("/", fields={"Host": "evil.example"})) is None
        assert engine.primary(environ("/")) is not None


@pytest.mark.parametrize(
    ("middleware", "uses"),
    [
        (["django.middleware.locale.LocaleMiddleware"], True),
        (["tests.cache.test_site.OwnLocaleMiddleware"], True),
        (["django.middleware.common.CommonMiddleware", "nowhere.to.be.Found"], False),
    ],
)
def test_kinds_of_locale_middleware_are_recognised(middleware: list[str], uses: bool) -> None:
    with override_settings(MIDDLEWARE=middleware, USE_I18N=True):
        assert (made().language is not None) is uses
    with override_settings(MIDDLEWARE=middleware, USE_I18N=False):
        assert made().language is None


def __getattr__(name: str) -> Any:
    if name == "OwnLocaleMiddleware":
        from django.middleware.locale import LocaleMiddleware

        return type(name, (LocaleMiddleware,), {})
    raise AttributeError(name)
