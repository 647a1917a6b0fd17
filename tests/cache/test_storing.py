"""Which responses are stored, for how long, and what of them (RFC 9111, 3 and 4.2.1; and this cache's own caution)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.entry import HEURISTIC, MUST_VALIDATE, NEVER_STALE, NO_TRANSFORM, SHAREABLE
from django_wsgiperf.cache.messages import Annotation, Signals
from django_wsgiperf.cache.policy import Reason, Rules, may_look_up, may_store
from django_wsgiperf.cache.policy.reading import read
from django_wsgiperf.cache.policy.refusing import refused_at_a_glance, refused_by_head

from .exchanges import NOW, RULES, date, decide, request, response


def test_a_response_with_a_lifetime_is_stored() -> None:
    decision = decide(cache_control="max-age=60")
    assert (decision.store, decision.reason, decision.lifetime_s) == (True, Reason.OK, 60.0)


def test_without_explicit_freshness_nothing_is_stored() -> None:
    """RFC 9111, 3: heuristics are a choice."""
    assert decide(cache_control=None).reason is Reason.NO_FRESHNESS
    assert decide("Last-Modified: " + date(-1000), cache_control="public").reason is Reason.NO_FRESHNESS


STATUSES = [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599]


@pytest.mark.parametrize("status", STATUSES)
def test_any_final_status_with_explicit_freshness_is_stored(status: int) -> None:
    """RFC 9111, 3."""
    assert decide(status=status).store


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((status, Reason.STATUS) for status in (0, 100, 103, 600, 999)),
        *((status, Reason.PARTIAL) for status in (206, 416)),
        (304, Reason.NOT_MODIFIED),
    ],
)
def test_what_is_not_final_or_not_whole_is_not_stored(status: int, reason: Reason) -> None:
    """RFC 9111, 3 and 3.3."""
    assert decide(status=status).reason is reason


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_answers_to_get_are_stored(method: str) -> None:
    """RFC 9111, 3: the method must be understood."""
    assert decide(to=request(method)).reason is Reason.METHOD


@pytest.mark.parametrize(
    ("cache_control", "reason"),
    [
        ("no-store, max-age=60", Reason.NO_STORE),  # 5.2.2.5
        ("No-Store, max-age=60", Reason.NO_STORE),
        ("private, max-age=60", Reason.PRIVATE),  # 5.2.2.7
        ("public, private, max-age=60", Reason.PRIVATE),
        ("no-cache, max-age=60", Reason.NO_CACHE),  # 5.2.2.4
        ("max-age=0", Reason.EXPIRED),
        ("max-age=x", Reason.EXPIRED),  # 4.2.1
        ("s-maxage=0, max-age=60", Reason.EXPIRED),
    ],
)
def test_what_forbids_storing(cache_control: str, reason: Reason) -> None:
    assert decide(cache_control=cache_control).reason is reason


@pytest.mark.parametrize(
    ("cache_control", "lifetime_s"),
    [
        ("s-maxage=60, max-age=0", 60.0),
        ("max-age=0, s-maxage=60", 60.0),
        ("max-age=60, s-maxage=5", 5.0),
        ("max-age=99999999999", Rules().max_lifetime_s),
    ],
)
def test_s_maxage_goes_before_max_age(cache_control: str, lifetime_s: float) -> None:
    """RFC 9111, 4.2.1."""
    assert decide(cache_control=cache_control).lifetime_s == lifetime_s


def test_max_age_goes_before_expires() -> None:
    """RFC 9111, 4.2.1."""
    assert decide("Expires: " + date(-100), cache_control="max-age=60").lifetime_s == 60.0
    assert decide("Expires: 0", cache_control="max-age=60").lifetime_s == 60.0
    assert decide("Expires: " + date(100), cache_control="max-age=0").reason is Reason.EXPIRED


def test_expires_counts_from_date() -> None:
    """RFC 9111, 4.2.1."""
    decision = decide("Date: " + date(-10), "Expires: " + date(90), cache_control=None)
    assert (decision.lifetime_s, decision.initial_age_s) == (100.0, 10.0)
    assert decide("Expires: " + date(90), cache_control=None).lifetime_s == 90.0


@pytest.mark.parametrize("expires", ["0", "-1", "", "soon", date(-1), f"{date(60)}, {date(60)}", "THU, 1 Jan 2050"])
def test_expires_that_cannot_be_read_is_in_the_past(expires: str) -> None:
    """RFC 9111, 5.3."""
    assert decide(f"Expires: {expires}", cache_control=None).reason is Reason.EXPIRED


def test_two_expires_are_none_that_can_be_read() -> None:
    """RFC 9111, 4.2.1."""
    lines = (f"Expires: {date(60)}", f"Expires: {date(90)}")
    assert decide(*lines, cache_control=None).reason is Reason.EXPIRED


def test_several_lines_are_one_field() -> None:
    """RFC 9110, 5.3."""
    assert decide("Cache-Control: private", cache_control="max-age=60").reason is Reason.PRIVATE
    assert decide("Vary: a", "Vary: *").reason is Reason.VARY_STAR


def test_an_age_past_the_lifetime_is_not_worth_storing() -> None:
    """RFC 9111, 4.2.3."""
    assert decide("Age: 7200", cache_control="max-age=3600").reason is Reason.EXPIRED
    decision = decide("Age: 600", cache_control="max-age=3600")
    assert (decision.store, decision.initial_age_s) == (True, 600.0)
    assert "Age" not in dict(decision.headers)


def test_age_is_corrected_by_the_time_it_took_to_arrive() -> None:
    """RFC 9111, 4.2.3."""
    answer = response("Age: 10", "Date: " + date(-3))
    decision = may_store(request(), answer, NOW, rules=RULES, requested_at=NOW - 2)
    assert decision.initial_age_s == 12.0
    answer = response("Age: 10", "Date: " + date(-30))
    assert may_store(request(), answer, NOW, rules=RULES, requested_at=NOW - 2).initial_age_s == 30.0
    late = response("Date: " + date(30))
    assert may_store(request(), late, NOW + 0.9, rules=RULES).initial_age_s == 0.0


AUTHORIZED = request(authorization="Basic eA==")


@pytest.mark.parametrize("cache_control", ["max-age=60", "max-age=60, proxy-revalidate", "max-age=60, public=1"])
def test_answers_to_credentials_are_private(cache_control: str) -> None:
    """RFC 9111, 3.5."""
    assert decide(to=AUTHORIZED, cache_control=cache_control).reason is Reason.AUTHORIZATION


@pytest.mark.parametrize("cache_control", ["max-age=60, public", "s-maxage=60", "max-age=60, must-revalidate"])
def test_unless_they_say_that_they_may_be_shared(cache_control: str) -> None:
    """RFC 9111, 3.5."""
    decision = decide(to=AUTHORIZED, cache_control=cache_control)
    assert decision.store
    assert decision.flags & SHAREABLE


def test_must_understand_goes_before_no_store_for_what_is_understood() -> None:
    """RFC 9111, 5.2.2.3."""
    assert decide(cache_control="must-understand, no-store, max-age=60").store
    assert decide(cache_control="must-understand, max-age=60", status=299).reason is Reason.NOT_UNDERSTOOD
    assert decide(cache_control="must-understand, no-store, max-age=60", status=299).reason is Reason.NOT_UNDERSTOOD


def test_fields_that_are_set_apart_are_not_stored() -> None:
    """RFC 9111, 5.2.2.4 and 5.2.2.7."""
    for directive in ("no-cache", "private"):
        decision = decide("A: 1", "B: 2", "C: 3", cache_control=f'max-age=60, {directive}="a, B"')
        assert {"a", "b", "c"} & {name.lower() for name, _ in decision.headers} == {"c"}


def test_cookies_that_are_set_apart_do_not_forbid_storing() -> None:
    """RFC 9111, 5.2.2.4."""
    decision = decide("Set-Cookie: a=b", cache_control='max-age=60, no-cache="set-cookie"')
    assert decision.store
    assert "Set-Cookie" not in dict(decision.headers)


def test_no_cache_is_stored_for_validation_only_where_that_was_chosen() -> None:
    """RFC 9111, 5.2.2.4."""
    rules = Rules(store_no_cache=True, keep_s=60)
    decision = decide('ETag: "1"', cache_control="no-cache", rules=rules)
    assert decision.store
    assert decision.flags & MUST_VALIDATE
    assert (decision.lifetime_s, decision.swr_s, decision.sie_s) == (0.0, 0.0, 0.0)
    assert decide(cache_control="no-cache, max-age=60", rules=rules).reason is Reason.NO_CACHE, "nothing to ask by"


def test_hop_by_hop_fields_are_not_stored() -> None:
    """RFC 9111, 3.1."""
    names = ("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "TE", "Trailer", "Upgrade")
    lines = [f"{name}: x" for name in (*names, "Transfer-Encoding", "Proxy-Authentication-Info", "X", "Y")]
    decision = decide(*lines)
    assert [name for name, _ in decision.headers] == ["Cache-Control", "Y", "Date"]


def test_a_missing_date_is_added_and_one_that_cannot_be_read_replaced() -> None:
    """RFC 9110, 6.6.1."""
    assert dict(decide().headers)["Date"] == date()
    assert [value for name, value in decide("date: yesterday").headers if name.lower() == "date"] == [date()]
    assert dict(decide("Date: " + date(-5)).headers)["Date"] == date(-5)


def test_the_rest_of_the_head_is_kept_as_it_was() -> None:
    lines = ("X-B: 1", "x-a: 2", "X-B: 3", f"Date: {date()}", "Content-Type: text/html")
    assert [f"{name}: {value}" for name, value in decide(*lines).headers] == ["Cache-Control: max-age=60", *lines]


@pytest.mark.parametrize(
    ("cache_control", "swr_s", "sie_s"),
    [
        ("max-age=60, stale-while-revalidate=30, stale-if-error=600", 30.0, 600.0),  # RFC 5861, 3 and 4
        ("max-age=60", 7.0, 8.0),
        ("max-age=60, stale-while-revalidate=0", 0.0, 8.0),
        ("max-age=60, stale-while-revalidate=x", 0.0, 8.0),
        ("max-age=60, stale-while-revalidate=30, must-revalidate", 0.0, 0.0),  # RFC 9111, 5.2.2.2
        ("max-age=60, stale-if-error=30, proxy-revalidate", 0.0, 0.0),  # 5.2.2.8
        ("s-maxage=60, stale-while-revalidate=30", 0.0, 0.0),  # 5.2.2.10
    ],
)
def test_windows_of_staleness(cache_control: str, swr_s: float, sie_s: float) -> None:
    decision = decide(cache_control=cache_control, rules=Rules(swr_s=7, sie_s=8))
    assert (decision.swr_s, decision.sie_s) == (swr_s, sie_s)


def test_an_explicit_window_beside_s_maxage_counts_where_that_was_chosen() -> None:
    rules = Rules(s_maxage_forbids_stale=False, swr_s=7, sie_s=8)
    decision = decide(cache_control="s-maxage=60, stale-while-revalidate=30", rules=rules)
    assert (decision.swr_s, decision.sie_s) == (30.0, 0.0)
    assert decision.flags & NEVER_STALE


def test_a_stale_response_is_stored_for_the_window_it_allows() -> None:
    assert decide(cache_control="max-age=0, stale-while-revalidate=30").store


def test_what_can_be_validated_is_kept_for_it() -> None:
    """RFC 9111, 4.3.1."""
    rules = Rules(keep_s=300)
    assert decide('ETag: "1"', rules=rules).keep_s == 300.0
    assert decide("Last-Modified: " + date(-9), rules=rules).keep_s == 300.0
    assert decide("ETag: junk", rules=rules).keep_s == 0.0
    assert decide('ETag: "1"', rules=rules, annotation=Annotation(keep_s=5.0)).keep_s == 5.0
    assert decide('ETag: "1"', rules=rules, annotation=Annotation(keep_s=-5.0)).keep_s == 0.0
    assert decide('ETag: "1"', cache_control="max-age=0", rules=rules).store


def test_heuristic_lifetimes_are_a_tenth_of_the_age_at_most_a_day_and_only_where_chosen() -> None:
    """RFC 9111, 4.2.2."""
    rules = Rules(heuristic=True)
    decision = decide("Last-Modified: " + date(-1000), cache_control=None, rules=rules)
    assert (decision.lifetime_s, decision.flags & HEURISTIC) == (100.0, HEURISTIC)
    assert decide("Last-Modified: " + date(-(10**8)), cache_control=None, rules=rules).lifetime_s == 86400.0
    assert decide("Last-Modified: " + date(10), cache_control=None, rules=rules).reason is Reason.NO_FRESHNESS
    modified = "Last-Modified: " + date(-1000)
    assert decide(modified, cache_control=None, status=302, rules=rules).reason is Reason.NO_FRESHNESS
    assert decide(modified, cache_control="public", status=302, rules=rules).store
    asked = decide(modified, cache_control=None, to=request(query="a=1"), rules=rules)
    assert asked.reason is Reason.NO_FRESHNESS


def test_a_targeted_field_goes_before_cache_control_and_expires() -> None:
    """RFC 9213, 2.2."""
    target = "WSGIPerf-Cache-Control: "
    assert decide(target + "max-age=600", cache_control="max-age=1").lifetime_s == 600.0
    assert decide(target + "max-age=1", cache_control="max-age=600").lifetime_s == 1.0
    assert decide(target + "max-age=600", cache_control="no-store").store
    assert decide(target + "no-store", cache_control="max-age=60").reason is Reason.NO_STORE
    assert decide(target + "private", cache_control="max-age=60").reason is Reason.PRIVATE
    assert decide(target + "none", "Expires: " + date(60), cache_control="max-age=60").reason is Reason.NO_FRESHNESS
    assert decide(target + "max-age=600, &&&", cache_control="max-age=1").lifetime_s == 1.0
    assert decide(target, cache_control="max-age=1").lifetime_s == 1.0
    assert decide(target + "max-age=600", "Age: 700").reason is Reason.EXPIRED


def test_targets_that_are_not_ours_are_passed_by_and_the_first_of_ours_wins() -> None:
    """RFC 9213, 2.2."""
    cdn, own = "CDN-Cache-Control: max-age=7", "WSGIPerf-Cache-Control: max-age=9"
    assert decide(cdn).lifetime_s == 60.0
    assert dict(decide(cdn).headers)["CDN-Cache-Control"] == "max-age=7"
    both = Rules(targets=("wsgiperf-cache-control", "cdn-cache-control"))
    assert decide(cdn, own, rules=both).lifetime_s == 9.0
    assert decide(cdn, "WSGIPerf-Cache-Control: &", rules=both).lifetime_s == 7.0


def test_no_transform_is_for_everybody() -> None:
    """RFC 9111, 5.2.2.6."""
    assert decide(cache_control="max-age=60, no-transform").flags & NO_TRANSFORM
    target = "WSGIPerf-Cache-Control: max-age=60"
    assert decide(target, cache_control="no-transform").flags & NO_TRANSFORM
    assert not decide().flags & NO_TRANSFORM


def test_groups_and_the_views_tags_are_the_entrys_tags() -> None:
    """RFC 9875, 2."""
    decision = decide('Cache-Groups: "b", "c"', annotation=Annotation(tags=("a", "b")))
    assert decision.tags == ("a", "b", "c")


@pytest.mark.parametrize("vary", ["*", "a, *", "no name"])
def test_what_varies_by_everything_is_not_stored(vary: str) -> None:
    """RFC 9111, 4.1."""
    assert decide(f"Vary: {vary}").reason is Reason.VARY_STAR


def test_what_varies_by_too_much_is_not_stored() -> None:
    names = [f"x-{number}" for number in range(RULES.max_nominated + 1)]
    assert decide("Vary: " + ", ".join(names)).reason is Reason.VARY_TOO_WIDE
    assert decide("Vary: " + ", ".join(names[1:])).vary == tuple(sorted(names[1:]))


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "Set-Cookie2"])
def test_a_response_that_sets_a_cookie_is_not_stored(name: str) -> None:
    assert decide(f"{name}: a=b", cache_control="public, max-age=60").reason is Reason.SET_COOKIE


def test_what_varies_by_cookie_is_not_stored_for_somebody_with_a_session() -> None:
    mine, nobodys = request(cookie="a=1; sessionid=x"), request(cookie="a=1; not_sessionid=x")
    assert decide("Vary: cOOkie", to=mine).reason is Reason.PRIVATE_COOKIE
    assert decide("Vary: Cookie", to=nobodys).store
    assert decide(to=mine).store, "a page that does not vary by cookies is the same for everybody"


@pytest.mark.parametrize("name", ["Content-Security-Policy", "Content-Security-Policy-Report-Only"])
def test_a_nonce_is_never_sent_twice(name: str) -> None:
    assert decide(f"{name}: script-src 'self' 'Nonce-abc'").reason is Reason.CSP_NONCE
    assert decide(f"{name}: script-src 'self'").store


MADE = {
    "csrf_used": Reason.CSRF,
    "session_used": Reason.SESSION,
    "messages_shown": Reason.MESSAGES,
    "csp_nonce": Reason.CSP_NONCE,
    "time_zone": Reason.TIME_ZONE,
    "language": Reason.LANGUAGE,
    "streaming": Reason.STREAMING,
    "debug": Reason.DEBUG,
    "excluded": Reason.EXCLUDED,
    "failed": Reason.FAILED,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Signals)])
def test_each_signal_forbids_storing(name: str) -> None:
    signals = replace(Signals(), **{name: True})
    assert decide(cache_control="public, max-age=60", signals=signals).reason is MADE[name]


@given(st.sets(st.sampled_from(sorted(MADE))), st.sampled_from(["public, s-maxage=60", "max-age=60"]))
def test_signals_forbid_storing_whatever_the_response_says(names: set[str], cache_control: str) -> None:
    signals = Signals(**dict.fromkeys(names, True))
    annotation = Annotation(lifetime_s=60.0)
    assert decide(cache_control=cache_control, signals=signals, annotation=annotation).store == (not names)


def test_an_annotation_gives_this_cache_a_lifetime_of_its_own() -> None:
    annotation = Annotation(lifetime_s=300.0, swr_s=30.0, sie_s=3.0)
    for cache_control in (None, "max-age=0", "max-age=5, must-revalidate", "s-maxage=5"):
        decision = decide(cache_control=cache_control, annotation=annotation)
        assert (decision.lifetime_s, decision.swr_s, decision.sie_s) == (300.0, 30.0, 3.0)
        assert not decision.flags & HEURISTIC


@pytest.mark.parametrize("directive", ["private", "no-store", "no-cache"])
def test_an_annotation_does_not_open_what_the_response_closes(directive: str) -> None:
    assert not decide(cache_control=directive, annotation=Annotation(lifetime_s=300.0)).store


@pytest.mark.parametrize("status", [302, 403, 500, 503])
def test_an_annotation_speaks_of_pages_not_of_errors_and_redirects(status: int) -> None:
    decision = decide(cache_control=None, status=status, annotation=Annotation(lifetime_s=300.0))
    assert decision.reason is Reason.NO_FRESHNESS


def test_a_view_can_say_never() -> None:
    assert decide(annotation=Annotation(never=True, lifetime_s=60.0)).reason is Reason.NEVER


def test_bodies_and_heads_have_bounds() -> None:
    rules = Rules(max_body_bytes=10, max_head_bytes=100)
    assert decide(body_bytes=10, rules=rules).store
    assert decide(body_bytes=11, rules=rules).reason is Reason.BODY_TOO_LARGE
    assert decide("X: " + "x" * 100, rules=rules).reason is Reason.HEAD_TOO_LARGE
    assert decide(body_bytes=None).reason is Reason.STREAMING


def test_a_body_of_another_length_than_it_claims_is_not_stored() -> None:
    """RFC 9111, 3.3."""
    assert decide("Content-Length: 10", body_bytes=10).store
    assert decide("Content-Length: 10", body_bytes=9).reason is Reason.LENGTH_MISMATCH
    assert decide("Content-Length: 10", "Content-Length: 10", body_bytes=10).reason is Reason.LENGTH_MISMATCH


@pytest.mark.parametrize("line", ["X: a\r\nSet-Cookie: b", "X: a\nb", "X: a\0b"])
def test_a_head_that_could_be_split_is_not_stored(line: str) -> None:
    assert decide(line).reason is Reason.MALFORMED


def test_codings_that_requests_are_not_told_apart_by_are_not_stored() -> None:
    assert decide("Vary: Accept-Encoding", "Content-Encoding: dcb").reason is Reason.UNKNOWN_CODING
    assert decide("Vary: Accept-Encoding", "Content-Encoding: GZIP").store


def test_a_request_that_may_not_be_stored_gives_the_reason() -> None:
    to = request(cookie="messages=x")
    assert decide(to=to, ask=may_look_up(to, RULES)).reason is Reason.BYPASS_COOKIE


PIECES = st.sampled_from(
    [
        *("Vary: *", "Vary: a", "Age: 9", "Age: x", "Expires: 0", "Set-Cookie: a=b", 'ETag: "1"', f"Date: {date()}"),
        *("Connection: close, x", "X: 1", "Cache-Groups: &", "Content-Encoding: x", "Last-Modified: x", "Date: x"),
        *("Cache-Control: private", "Cache-Control: no-store", "Cache-Control: s-maxage=9", "Content-Length: x"),
        "WSGIPerf-Cache-Control: max-age=4",
    ]
)


@given(st.lists(PIECES | st.tuples(st.text(), st.text()).map(": ".join)), st.integers(-1, 1000))
def test_a_decision_is_made_whatever_a_response_holds(lines: list[str], status: int) -> None:
    decision = decide(*lines, status=status, rules=Rules(heuristic=True, store_no_cache=True, keep_s=60))
    assert decision.store == (decision.reason is Reason.OK)
    if decision.store:
        names = {name.lower() for name, _ in decision.headers}
        assert not names & {"set-cookie", "age", "connection"}
        assert "x" not in names or not any(line.startswith("Connection") for line in lines)
        assert decision.lifetime_s + max(decision.swr_s, decision.sie_s, decision.keep_s) > decision.initial_age_s


CLOSING = ["Cache-Control: no-store", "Cache-Control: private", "Vary: *", "Set-Cookie: a=b", "Cache-Control: no-cache"]


@given(st.lists(PIECES), st.sampled_from(CLOSING), st.integers(0, 9))
def test_what_closes_a_response_closes_it_among_anything_else(lines: list[str], closing: str, place: int) -> None:
    lines = [line for line in lines if not line.startswith("WSGIPerf")]
    assert not decide(*lines[:place], closing, *lines[place:]).store


GLANCED = st.lists(
    st.sampled_from(
        [
            *[("Content-Type", "text/html"), ("Content-Length", "4"), ("ETag", '"x"'), ("X-Frame-Options", "DENY")],
            *[("Vary", "Cookie"), ("Vary", "*"), ("vary", "Accept"), ("Vary", "A, B, C, D, E, F, G, H, I")],
            *[("Cache-Control", "max-age=5"), ("Cache-Control", "private"), ("Expires", "0"), ("Set-Cookie", "a=b")],
            *[("Content-Encoding", "x"), ("Content-Security-Policy", "'nonce-a'"), ("Last-Modified", date(-9))],
            *[("X-Other", "a"), ("WSGIPerf-Cache-Control", "max-age=5"), ("Vary", "Accept-Encoding")],
            *[("Cache-Control", "no-store, private"), ("Cache-Control", "must-understand, no-store, max-age=5")],
        ]
    ),
    max_size=4,
)


@given(GLANCED, st.sampled_from([200, 204, 206, 302, 304, 404, 503, 99]), st.booleans(), st.booleans())
def test_glance_sees_what_reading_finds_or_nothing(
    headers: list[tuple[str, str]], status: int, private: bool, heuristic: bool
) -> None:
    rules = Rules(heuristic=heuristic)
    cookies = "sessionid=abc" if private else "theme=dark"
    seen = refused_at_a_glance(status, headers, private, rules)
    assert seen in (None, refused_by_head(status, read(headers, rules), cookies, rules))


def test_glance_suffices_for_what_django_says_mostly() -> None:
    headers = [("Content-Type", "text/html"), ("X-Frame-Options", "DENY"), ("Vary", "Cookie"), ("Content-Length", "4")]
    assert refused_at_a_glance(200, headers, False, Rules()) is Reason.NO_FRESHNESS
    assert refused_at_a_glance(200, headers, True, Rules()) is Reason.PRIVATE_COOKIE
    never = [*headers, ("Expires", date()), ("Cache-Control", "max-age=0, no-cache, no-store, private")]
    assert refused_at_a_glance(200, never, True, Rules()) is Reason.NO_STORE
    assert refused_at_a_glance(200, [*headers, ("Cache-Control", "private")], True, Rules()) is Reason.PRIVATE
