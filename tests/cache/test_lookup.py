"""What a request allows (RFC 9111, 4 and 5.2.1), and what may be done with a stored response now (4.2; RFC 5861)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.entry import MUST_VALIDATE, NEVER_STALE, SHAREABLE, Entry
from django_wsgiperf.cache.policy import (
    PLAIN,
    Forward,
    Reason,
    Rules,
    Verdict,
    age_value,
    covers_errors,
    current_age,
    judge,
    may_look_up,
    time_to_live,
)

from .exchanges import NOW, RULES, request, stored

HEEDING = Rules(request_directives=True)
PAGE = Entry(200, "OK", (), b"", stored_at=NOW, lifetime_s=60.0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_plain_request_may_use_and_store(method: str) -> None:
    assert may_look_up(request(method, accept="*/*", cookie="a=1"), RULES) is PLAIN


@pytest.mark.parametrize(
    ("cookies", "past"),
    [
        ("a=1; messages=x", True),
        ("a=messages; b=messages=1", False),
        ("\u00a0a=1", True),
        ("a=1; b\u0085=1", True),
        ("a=1;\x0bb=1", True),
        ("gr\u00f6\u00dfe=1", True),
        ("a=gr\u00f6\u00dfe; b=\x1f; c", False),
        ("a=1;\tb[c]=2; {d}/e=3", False),
        ("", False),
    ],
)
def test_names_of_cookies_that_may_be_read_differently_go_past(cookies: str, past: bool) -> None:
    assert may_look_up(request("GET", cookie=cookies), Rules(bypass_cookies=frozenset({"messages"}))).use is not past


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "M-SEARCH", "get"])
def test_other_methods_are_written_through(method: str) -> None:
    """RFC 9111, 4."""
    ask = may_look_up(request(method), RULES)
    assert (ask.use, ask.store, ask.forward) == (False, False, Forward.METHOD)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("content_length", "5", Reason.REQUEST_BODY),
        ("transfer_encoding", "chunked", Reason.REQUEST_BODY),
        ("if_match", '"1"', Reason.PRECONDITION),  # RFC 9111, 4.3.2
        ("if_unmodified_since", "x", Reason.PRECONDITION),
        ("upgrade", "websocket", Reason.UPGRADE),
        ("expect", "100-continue", Reason.UPGRADE),
        ("cookie", "a=1; messages=x", Reason.BYPASS_COOKIE),
        ("cookie", "messages=", Reason.BYPASS_COOKIE),
    ],
)
def test_what_only_the_application_can_answer(field: str, value: str, reason: Reason) -> None:
    ask = may_look_up(request(**{field: value}), RULES)
    assert (ask.use, ask.store, ask.reason, ask.forward) == (False, False, reason, Forward.BYPASS)


def test_names_that_only_contain_a_cookies_name_are_others() -> None:
    assert may_look_up(request(cookie="xmessages=1; a=messages=2; messagesx=3"), RULES) is PLAIN


def test_an_empty_body_is_none() -> None:
    assert may_look_up(request(content_length="0"), RULES) is PLAIN
    assert may_look_up(request(content_length=""), RULES) is PLAIN


def test_clients_cannot_force_renders_unless_the_site_lets_them() -> None:
    asking = request(cache_control="no-cache, no-store, max-age=0, only-if-cached", pragma="no-cache")
    assert may_look_up(asking, RULES) is PLAIN


def test_request_no_store_is_used_but_not_stored() -> None:
    """RFC 9111, 5.2.1.5."""
    ask = may_look_up(request(cache_control="no-store"), HEEDING)
    assert (ask.use, ask.store, ask.reason) == (True, False, Reason.REQUEST_NO_STORE)


def test_fresh_until_its_lifetime_is_over() -> None:
    """RFC 9111, 4.2: fresh while its lifetime is greater than its age."""
    assert judge(PAGE, NOW + 59.999) == (Verdict.FRESH, Reason.OK)
    assert judge(PAGE, NOW + 60) == (Verdict.GONE, Reason.STALE)


def test_windows_follow_each_other() -> None:
    """RFC 5861, 3 and 4; RFC 9111, 4.3."""
    page = replace(PAGE, swr_s=10.0, sie_s=20.0, keep_s=30.0)
    verdicts = [judge(page, NOW + 60 + past)[0] for past in (-1, 0, 9.9, 10, 29.9, 30)]
    expected = [Verdict.FRESH, Verdict.REFRESH, Verdict.REFRESH, Verdict.VALIDATE, Verdict.VALIDATE, Verdict.GONE]
    assert verdicts == expected
    assert [covers_errors(page, NOW + 60 + past) for past in (-1, 0, 19.9, 20)] == [True, True, True, False]


def test_client_may_accept_what_is_stale_in_place_of_an_error() -> None:
    """RFC 5861, 4."""
    ask = may_look_up(request(cache_control="stale-if-error=20"), HEEDING)
    page = replace(PAGE, sie_s=10.0, keep_s=30.0)
    assert [covers_errors(page, NOW + 60 + past, ask) for past in (10, 19.9, 20)] == [True, True, False]
    bound = replace(page, flags=NEVER_STALE, sie_s=0.0)
    assert [covers_errors(bound, NOW + 60 + past, ask) for past in (-1, 0)] == [True, False]


def test_the_age_it_came_with_counts() -> None:
    """RFC 9111, 4.2.3 and 5.1."""
    page = replace(PAGE, initial_age_s=50.0)
    assert judge(page, NOW + 9)[0] is Verdict.FRESH
    assert judge(page, NOW + 10)[0] is Verdict.GONE
    assert (age_value(page, NOW + 9.9), time_to_live(page, NOW + 9.5), time_to_live(page, NOW + 10.5)) == ("59", 0, -1)


def test_must_validate_is_never_served_unasked() -> None:
    """RFC 9111, 5.2.2.4."""
    page = replace(PAGE, flags=MUST_VALIDATE, swr_s=10.0, sie_s=10.0, keep_s=10.0)
    assert judge(page, NOW) == (Verdict.VALIDATE, Reason.MUST_VALIDATE)
    assert judge(page, NOW + 65)[0] is Verdict.VALIDATE
    assert not covers_errors(page, NOW)


def test_a_clock_set_back_makes_nothing_younger_than_it_came() -> None:
    assert current_age(replace(PAGE, initial_age_s=5.0), NOW - 1000) == 5.0


@given(st.floats(0, 1e9), st.lists(st.floats(0, 4e9), min_size=2, max_size=9))
def test_age_never_falls_and_freshness_never_returns(initial: float, moments: list[float]) -> None:
    page = replace(PAGE, initial_age_s=initial, lifetime_s=initial + 60, swr_s=30.0, keep_s=90.0)
    moments.sort()
    ages = [current_age(page, moment) for moment in moments]
    verdicts = [judge(page, moment)[0] for moment in moments]
    assert ages == sorted(ages)
    assert verdicts == sorted(verdicts)


@pytest.mark.parametrize(
    ("wishes", "age_s", "expected"),
    [
        ("no-cache", 1, (Verdict.VALIDATE, Reason.REQUEST_NO_CACHE)),  # 5.2.1.4
        ("max-age=10", 9, (Verdict.FRESH, Reason.OK)),  # 5.2.1.1
        ("max-age=10", 11, (Verdict.VALIDATE, Reason.REQUEST_MAX_AGE)),
        ("max-age=0", 0.5, (Verdict.VALIDATE, Reason.REQUEST_MAX_AGE)),
        ("max-age=100", 65, (Verdict.VALIDATE, Reason.STALE)),
        ("min-fresh=10", 49, (Verdict.FRESH, Reason.OK)),  # 5.2.1.3
        ("min-fresh=10", 50, (Verdict.FRESH, Reason.OK)),
        ("min-fresh=10", 51, (Verdict.VALIDATE, Reason.REQUEST_MIN_FRESH)),
        ("max-stale=10", 69, (Verdict.FRESH, Reason.OK)),  # 5.2.1.2
        ("max-stale=10", 71, (Verdict.REFRESH, Reason.STALE)),
        ("max-stale", 10**6, (Verdict.FRESH, Reason.OK)),
        ("max-age=5, max-stale=1000", 65, (Verdict.FRESH, Reason.OK)),
        ("only-if-cached", 5, (Verdict.FRESH, Reason.OK)),
    ],
)
def test_wishes_of_clients_where_the_site_heeds_them(
    wishes: str, age_s: float, expected: tuple[Verdict, Reason]
) -> None:
    ask = may_look_up(request(cache_control=wishes), HEEDING)
    assert judge(replace(PAGE, swr_s=20.0, keep_s=50.0), NOW + age_s, ask) == expected


def test_no_client_gets_what_must_not_be_stale() -> None:
    """RFC 9111, 4.2.4."""
    ask = may_look_up(request(cache_control="max-stale"), HEEDING)
    assert judge(replace(PAGE, flags=NEVER_STALE), NOW + 61, ask)[0] is Verdict.GONE
    for closed in ("must-revalidate", "proxy-revalidate", "s-maxage=60"):
        assert judge(stored(cache_control=f"max-age=60, {closed}"), NOW + 61, ask)[0] is Verdict.GONE


def test_pragma_counts_where_there_is_no_cache_control() -> None:
    """RFC 9111, 5.4."""
    assert may_look_up(request(pragma="No-Cache"), HEEDING).wishes.no_cache
    assert not may_look_up(request(pragma="no-cache", cache_control="max-age=9"), HEEDING).wishes.no_cache


def test_only_if_cached_is_passed_on() -> None:
    """RFC 9111, 5.2.1.7: the engine answers 504."""
    assert may_look_up(request(cache_control="only-if-cached"), HEEDING).wishes.only_if_cached


def test_credentials_are_answered_only_from_what_is_for_everybody() -> None:
    """RFC 9111, 3.5."""
    ask = may_look_up(request(authorization="Basic eA=="), RULES)
    assert judge(PAGE, NOW, ask) == (Verdict.UNFIT, Reason.AUTHORIZATION)
    assert judge(replace(PAGE, flags=SHAREABLE), NOW, ask) == (Verdict.FRESH, Reason.OK)
    assert judge(replace(PAGE, flags=SHAREABLE, swr_s=9.0), NOW + 61, ask)[0] is Verdict.REFRESH


SPANS = st.sampled_from([0.0, 1.0, 30.0, 1000.0])
ENTRIES = st.builds(
    Entry,
    st.just(200),
    st.just("OK"),
    st.just(()),
    st.just(b""),
    stored_at=st.just(NOW),
    initial_age_s=SPANS,
    lifetime_s=SPANS,
    swr_s=SPANS,
    sie_s=SPANS,
    keep_s=SPANS,
    flags=st.sampled_from([0, MUST_VALIDATE, NEVER_STALE, SHAREABLE, MUST_VALIDATE | SHAREABLE]),
)
WISHES = st.lists(
    st.sampled_from(["no-cache", "max-age=5", "max-age=0", "min-fresh=9", "only-if-cached", "junk", "no-store"])
).map(", ".join)


@given(ENTRIES, st.floats(-10, 3000), WISHES, st.booleans())
def test_no_wish_but_for_staleness_makes_a_response_more_usable(
    entry: Entry, later: float, wishes: str, authorized: bool
) -> None:
    given_fields = {"cache_control": wishes, **({"authorization": "x"} if authorized else {})}
    asked = judge(entry, NOW + later, may_look_up(request(**given_fields), HEEDING))[0]
    plain = judge(entry, NOW + later)[0]
    assert asked >= plain or (plain is Verdict.GONE and asked is Verdict.VALIDATE)
