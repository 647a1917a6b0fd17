"""What unsafe requests make invalid (RFC 9111, 4.4; RFC 9875, 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.key import Keys
from django_wsgiperf.cache.policy import Target, invalidated_by
from django_wsgiperf.cache.policy.invalidation import same_origin

from .exchanges import request, response

OWN = Target("https", "shop.example", "/books/", "page=2")


def post(*headers: str, method: str = "POST", status: int = 200) -> tuple[Target, ...]:
    return invalidated_by(request(method, query="page=2"), response(*headers, status=status)).targets


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF"])
@pytest.mark.parametrize("status", [200, 201, 204, 302, 303])
def test_an_unsafe_method_that_did_not_fail_invalidates_its_own_address(method: str, status: int) -> None:
    assert post(method=method, status=status) == (OWN,)


@pytest.mark.parametrize("status", [100, 400, 403, 404, 409, 500, 503])
def test_one_that_failed_invalidates_nothing(status: int) -> None:
    assert post("Location: /a", status=status) == ()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_invalidate_nothing(method: str) -> None:
    assert post("Location: /a", 'Cache-Group-Invalidation: "a"', method=method) == ()


def test_location_and_content_location_of_the_same_origin_go_too() -> None:
    found = post("Location: /a?b=1", "Content-Location: https://SHOP.example:443/c")
    assert [(target.path, target.query) for target in found] == [("/books/", "page=2"), ("/a", "b=1"), ("/c", "")]
    assert {(target.scheme, target.host) for target in found} == {("https", "shop.example")}


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://other.example/a",
        "http://shop.example/a",
        "https://shop.example:8443/a",
        "//other.example/a",
        "https://shop.example@other.example/a",
        "https://shop.example.other.example/a",
        "https://[::1/a",
        "https://shop.example:port/a",
        "mailto:a@shop.example",
    ],
)
def test_other_origins_are_left_alone(elsewhere: str) -> None:
    """RFC 9111, 4.4: nobody may empty the cache of another."""
    assert post(f"Location: {elsewhere}", f"Content-Location: {elsewhere}") == (OWN,)


@pytest.mark.parametrize(
    ("reference", "path", "query"),
    [
        ("next", "/books/next", ""),
        ("../authors/?q=1", "/authors/", "q=1"),
        ("?page=3", "/books/", "page=3"),
        ("#top", "/books/", "page=2"),
        ("/caf%C3%A9/", "/caf\xc3\xa9/", ""),
        ("https://shop.example", "/", ""),
        (" /a ", "/a", ""),
    ],
)
def test_references_are_resolved_and_decoded_as_requests_are(reference: str, path: str, query: str) -> None:
    """RFC 3986, 5; PEP 3333."""
    target = same_origin(request(query="page=2"), reference)
    assert target == Target("https", "shop.example", path, query)


def test_a_path_of_odd_characters_stays_what_it_is() -> None:
    odd = request("POST", path="/caf\xc3\xa9 ?#%/")
    target = same_origin(odd, "x")
    assert target == Target("https", "shop.example", "/caf\xc3\xa9 ?#%/x", "")


def test_the_invalidated_address_has_the_key_of_the_page() -> None:
    keys = Keys()
    (_, target) = post("Location: /books/caf%C3%A9?utm_source=x")
    page = request(path="/books/caf\xc3\xa9")
    assert keys.primary(target.scheme, target.host, target.path, target.query) == keys.of_request(page)


def test_groups_that_the_response_names_go_too() -> None:
    """RFC 9875, 3."""
    answer = response('Cache-Group-Invalidation: "a", "b";x')
    assert invalidated_by(request("POST"), answer).groups == ("a", "b")
    assert invalidated_by(request("GET"), answer).groups == ()


@given(st.text(), st.text(st.characters(max_codepoint=255)))
def test_any_reference_from_anywhere_is_resolved_or_none(reference: str, path: str) -> None:
    target = same_origin(request(path="/" + path), reference)
    assert target is None or target.host == "shop.example"
