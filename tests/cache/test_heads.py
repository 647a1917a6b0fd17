"""What is remembered of a head is what the rules would decide; nothing is remembered where they have to be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.cache.coded import is_worthwhile
from django_wsgiperf.cache.entry import MUST_VALIDATE, NO_TRANSFORM
from django_wsgiperf.cache.messages import NO_ANNOTATION, Annotation
from django_wsgiperf.cache.policy import Reason, Rules, may_store
from django_wsgiperf.cache.policy.heads import Heads
from django_wsgiperf.cache.policy.lookup import has_cookie

from .exchanges import NOW, RULES, date, request, response

LINES = st.sampled_from(
    [
        *("Cache-Control: max-age=60", "Cache-Control: s-maxage=9", "Cache-Control: no-cache", "Cache-Control: public"),
        *("Cache-Control: private", 'Cache-Control: private="x"', "Cache-Control: max-age=0, no-store", "X: 1", "X: 2"),
        *("Cache-Control: max-age=9, stale-while-revalidate=5, no-transform", "cache-control: must-revalidate"),
        *("Vary: Cookie", "Vary: *", "Vary: Accept-Encoding", "Content-Encoding: gzip", "Content-Encoding: dcb"),
        *("Set-Cookie: a=b", "Connection: x", "Proxy-Connection: close", 'Cache-Groups: "a"', "Age: 9", "Date: x"),
        *("Wsgiperf-Cache-Control: max-age=4", "Content-Type: text/html", "No-Vary-Search: params", f"Date: {date()}"),
        *("Content-Security-Policy: 'nonce-a'", "etag: x", "content-length: 10", "X: \x01", "Expires: 0", 'ETag: "a"'),
    ]
)
VARYING = st.sampled_from(
    [
        *("Content-Length: 10", "Content-Length: 11", 'ETag: "1"', "ETag: x", "X-Request-ID: 1", "Server-Timing: a"),
        *("Expires: 0", f"Expires: {date(60)}", f"Last-Modified: {date(-60)}", "Last-Modified: x", "X-Request-ID: \n"),
    ]
)
ANNOTATIONS = st.sampled_from(
    [
        NO_ANNOTATION,
        Annotation(lifetime_s=300.0, swr_s=30.0),
        Annotation(tags=("a", "b")),
        Annotation(never=True),
        Annotation(keep_s=60.0, vary_cookies=("theme",)),
    ]
)
RULE_SETS = st.sampled_from(
    [RULES, Rules(keep_s=60.0), Rules(store_no_cache=True), Rules(heuristic=True), Rules(max_head_bytes=60, swr_s=5.0)]
)


@given(
    st.lists(LINES, max_size=4),
    st.lists(st.tuples(st.lists(VARYING, max_size=3), st.sampled_from(["", "sessionid=1"])), min_size=4, max_size=6),
    st.sampled_from([200, 200, 200, 204, 206, 404, 500]),
    ANNOTATIONS,
    RULE_SETS,
)
def test_a_known_head_is_judged_as_the_rules_judge_it(
    common: list[str], varying: list[tuple[list[str], str]], status: int, annotation: Annotation, rules: Rules
) -> None:
    heads = Heads(rules, is_worthwhile)
    for lines, cookies in varying:
        asked = request(cookie=cookies) if cookies else request()
        answer = response(*common, *lines, status=status, cache_control=None)
        headers = list(answer.headers)
        private = has_cookie(cookies, rules.private_cookies)
        # Whether it sees other tags of the same view makes no difference.
        known = heads.known(status, headers, private, cookies, replace(annotation, tags=annotation.tags[:1]))
        decision = may_store(asked, answer, NOW, rules=rules, annotation=annotation)
        if known is None:
            continue
        judgement = known.judgement
        if judgement.reason is not None:
            assert (decision.store, decision.reason) == (False, judgement.reason)
        elif known.chars(headers, 10, rules) >= 0:
            expected = replace(judgement.decision, headers=decision.headers)
            expected.tags = tuple(dict.fromkeys((*annotation.tags, *expected.tags)))
            assert decision == expected
            assert (*known.stored(headers), ("Date", date())) == decision.headers
            may_be_coded = status != 204 and not decision.flags & NO_TRANSFORM
            assert judgement.is_offered == (may_be_coded and is_worthwhile(headers))
            assert judgement.is_shared == (not decision.flags & MUST_VALIDATE and decision.lifetime_s > 0)
            if known.at is not None:
                assert (*judgement.whole(known.at, 10), ("Date", date())) == decision.headers
        else:
            assert not decision.store or rules.max_head_bytes < 100 or lines.count("X-Request-ID: \n")


def known_at(heads: Heads, *lines: str) -> bool:
    return heads.known(200, list(response(*lines).headers), False, "", NO_ANNOTATION) is not None


def test_a_head_is_known_from_the_second_time_on_whatever_differs() -> None:
    heads = Heads(RULES, is_worthwhile)
    lengths = [f"Content-Length: {number}" for number in range(4)]
    assert [known_at(heads, "X: a", length, f'ETag: "{length}"') for length in lengths] == [False, True, True, True]


def test_what_is_known_for_all_is_not_taken_for_who_has_a_session() -> None:
    heads = Heads(RULES, is_worthwhile)
    headers = list(response("Vary: Cookie").headers)
    for _ in range(3):
        known = heads.known(200, headers, False, "theme=dark", NO_ANNOTATION)
    assert known is not None
    assert known.judgement.reason is None
    for _ in range(3):
        known = heads.known(200, headers, True, "sessionid=1", NO_ANNOTATION)
    assert known is not None
    assert known.judgement.reason is Reason.PRIVATE_COOKIE


def test_heads_that_never_come_again_are_not_judged_for_others() -> None:
    judged = []
    heads = Heads(RULES, lambda headers: bool(judged.append(headers)))
    for number in range(2_000):
        assert not known_at(heads, f"X: {number}")
    assert judged == []


def test_fields_that_are_lists_are_judged_each_time() -> None:
    heads = Heads(RULES, is_worthwhile)
    headers: Any = [["Cache-Control", "max-age=60"]]
    assert [heads.known(200, headers, False, "", NO_ANNOTATION) for _ in range(3)] == [None] * 3


def test_heads_are_bounded() -> None:
    heads = Heads(RULES, is_worthwhile)
    for number in range(2_000):
        known_at(heads, f"X: {number}")
        assert known_at(heads, f"X: {number}")
    assert len(heads) <= 512
    assert not known_at(heads, "X: " + "x" * 5_000)
    assert not known_at(heads, "X: " + "x" * 5_000), "long ones are judged each time"
