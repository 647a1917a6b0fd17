"""The cache's rules against hishel's, an independent RFC 9111 state machine: where both should agree, they do.

An exchange is stored, time passes, a second request comes: is it answered from what was stored, or not? Every way in
which the two may differ is named below with its reason, and shown by an example that would fail if it no longer was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from unittest.mock import patch

import hishel
import pytest
from hishel._core import _spec as hishel_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from django_wsgiperf.cache.headers import parse_cache_control
from django_wsgiperf.cache.key import KeyRules, Keys
from django_wsgiperf.cache.messages import Request, index
from django_wsgiperf.cache.policy import Rules, Verdict, judge, may_look_up, may_store

from .exchanges import NOW, date, response

RULES = Rules(request_directives=True, store_no_cache=True, keep_s=10**6, max_lifetime_s=2.0**31)
KEYS = Keys(KeyRules(ignored_parameters=(), ignored_cookies=()))
URL = "https://shop.example/books/?a=1"


@dataclass(frozen=True)
class Story:
    """A response to a first request, and a second request some time later. Offsets are seconds."""

    status: int = 200
    head: tuple[str, ...] = ()
    first: dict[str, str] = field(default_factory=dict)
    second: dict[str, str] = field(default_factory=dict)
    second_method: str = "GET"
    date_offset_s: int | None = 0
    later_s: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        return self.head if self.date_offset_s is None else (*self.head, f"Date: {date(self.date_offset_s)}")

    @property
    def fields(self) -> dict[str, str]:
        return index(tuple(line.split(": ", 1)) for line in self.head)  # type: ignore[misc]

    @property
    def cache_control(self) -> str:
        return self.fields.get("cache-control", "")


def request_of(method: str, fields: dict[str, str]) -> Request:
    return Request(method, "https", "shop.example", "/books/", "a=1", fields)


def ours(story: Story) -> bool:
    first, second = request_of("GET", story.first), request_of(story.second_method, story.second)
    answer = response(*story.lines, status=story.status, cache_control=None)
    decision = may_store(first, answer, NOW, rules=RULES, ask=may_look_up(first, RULES))
    if not decision.store:
        return False
    entry = decision.entry(answer, b"0123456789", NOW)
    ask = may_look_up(second, RULES)
    same_variant = KEYS.values_of(decision.vary, first) == KEYS.values_of(decision.vary, second)
    verdict, _ = judge(entry, NOW + story.later_s, ask)
    return ask.use and same_variant and verdict is Verdict.FRESH


def hishels(story: Story) -> bool:
    options = hishel.CacheOptions(shared=True, supported_methods=["GET", "HEAD"], allow_stale=False)
    clock = SimpleNamespace(time=lambda: NOW)
    headers: dict[str, str | list[str]] = {}
    for name, value in (line.split(": ", 1) for line in story.lines):
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    with patch.object(hishel_spec, "time", clock):
        first = hishel.Request("GET", URL, hishel.Headers(dict(story.first)))
        state = hishel.IdleClient(options).next(first, [])
        assert isinstance(state, hishel.CacheMiss)
        stored = state.next(hishel.Response(story.status, hishel.Headers(headers)))
        if not isinstance(stored, hishel.StoreAndUse):
            return False
        entry = hishel.Entry(uuid.uuid4(), first, stored.response)
        clock.time = lambda: NOW + story.later_s
        second = hishel.Request(story.second_method, URL, hishel.Headers(dict(story.second)))
        return isinstance(hishel.IdleClient(options).next(second, [entry]), hishel.FromCache)


def _directives_of(story: Story) -> list[str]:
    return [member.strip().lower() for member in story.cache_control.split(",")]


# Each: why, whether it applies to a story, and a story that shows it. First those in which this cache is the stricter.
KNOWN: dict[str, tuple[Callable[[Story], bool], Story]] = {
    "a response that sets a cookie is never shared: this cache's caution": (
        lambda story: "set-cookie" in story.fields,
        Story(head=("Cache-Control: max-age=60", "Set-Cookie: a=b")),
    ),
    "the Age that a response came with counts: RFC 9111, 4.2.3": (
        lambda story: "age" in story.fields,
        Story(head=("Cache-Control: max-age=60", "Age: 90")),
    ),
    "time passes also for a response whose Date is ahead: RFC 9111, 4.2.3, resident_time": (
        lambda story: story.date_offset_s is not None and story.date_offset_s > 0,
        Story(head=("Cache-Control: max-age=60",), date_offset_s=1000, later_s=500),
    ),
    "time passes also for a response without a Date: RFC 9110, 6.6.1": (
        lambda story: story.date_offset_s is None,
        Story(head=("Cache-Control: max-age=60",), date_offset_s=None, later_s=500),
    ),
    "credentials are not answered by what was made for nobody: this cache's caution": (
        lambda story: "authorization" in story.second,
        Story(head=("Cache-Control: max-age=60",), second={"authorization": "x"}),
    ),
    "conditions for the application reach it: RFC 9111, 4.3.2": (
        lambda story: "if-match" in story.second,
        Story(head=("Cache-Control: max-age=60",), second={"if-match": '"a"'}),
    ),
    "of several lifetimes the shortest counts: RFC 9111, 4.2.1": (
        lambda story: any(
            sum(member.startswith(name) for member in _directives_of(story)) > 1 for name in ("max-age", "s-maxage")
        ),
        Story(head=("Cache-Control: max-age=5, max-age=60",), later_s=30),
    ),
    "of `private` and `private` with names the first counts: RFC 9111, 4.2.1": (
        lambda story: any(
            name in _directives_of(story) and f'{name}="' in story.cache_control for name in ("private", "no-cache")
        ),
        Story(head=('Cache-Control: max-age=60, no-cache, no-cache="x-a"',)),
    ),
    "several Expires are none that can be read: RFC 9111, 4.2.1": (
        lambda story: sum(line.startswith("Expires") for line in story.head) > 1,
        Story(head=(f"Expires: {date(60)}", f"Expires: {date(60)}")),
    ),
    "a lifetime that is no number is none: RFC 9111, 4.2.1": (
        lambda story: any(member.endswith("=x") for member in _directives_of(story)),
        Story(head=("Cache-Control: s-maxage=x, max-age=60",)),
    ),
    "a directive that forbids does so whatever its argument": (
        lambda story: "no-store=1" in _directives_of(story),
        Story(head=("Cache-Control: no-store=1, max-age=60",)),
    ),
    "clients may ask for younger responses: RFC 9111, 5.2.1": (
        lambda story: "max-age" in story.second.get("cache-control", ""),
        Story(head=("Cache-Control: max-age=60",), second={"cache-control": "max-age=5"}, later_s=9),
    ),
    "a stored GET answers HEAD: RFC 9111, 4": (
        lambda story: story.second_method == "HEAD",
        Story(head=("Cache-Control: max-age=60",), second_method="HEAD"),
    ),
    "requests that accept the same codings are alike: RFC 9111, 4.1": (
        lambda story: "accept-encoding" in story.first and "accept-encoding" in story.second,
        Story(
            head=("Cache-Control: max-age=60", "Vary: Accept-Encoding"),
            first={"accept-encoding": "gzip, br"},
            second={"accept-encoding": "br, gzip"},
        ),
    ),
    "must-understand goes before no-store for what is understood: RFC 9111, 5.2.2.3": (
        lambda story: "must-understand" in _directives_of(story),
        Story(head=("Cache-Control: must-understand, no-store, max-age=60",)),
    ),
}


@pytest.mark.parametrize("reason", KNOWN)
def test_each_known_difference_is_one(reason: str) -> None:
    applies, story = KNOWN[reason]
    assert applies(story)
    assert ours(story) != hishels(story)
    assert [name for name, (other, _) in KNOWN.items() if other(story)] == [reason], "nothing else explains it"


DIRECTIVES = st.sampled_from(
    [
        *("max-age=60", "max-age=5", "max-age=0", "s-maxage=30", "s-maxage=0", "public", "private", "no-store"),
        *("no-cache", "must-revalidate", "proxy-revalidate", "no-transform", "must-understand", "max-age=x"),
        *('private="x-a"', 'no-cache="x-a, x-b"', "odd", 'odd="max-age=99"', "MAX-AGE=40", "no-store=1"),
    ]
)
LINES = st.one_of(
    st.lists(DIRECTIVES, min_size=1, max_size=4).map(lambda members: "Cache-Control: " + ", ".join(members)),
    st.sampled_from([-100, 3, 30, 300]).map(lambda offset: "Expires: " + date(offset)),
    st.sampled_from(
        [
            *("Expires: 0", "Vary: Foo", "Vary: foo, Bar", "Vary: *", "Vary: Foo, *", "Vary: Accept-Encoding"),
            *('ETag: "1"', "X-A: 1", "Age: 9", "Set-Cookie: a=b"),
        ]
    ),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "foo": st.sampled_from(["1", "2", ""]),
        "bar": st.sampled_from(["1", "2"]),
        "authorization": st.just("Basic eA=="),
        "accept-encoding": st.sampled_from(["gzip, br", "br, gzip", "identity"]),
        "cache-control": st.sampled_from(["no-cache", "max-age=3"]),
    },
)
STORIES = st.builds(
    Story,
    status=st.sampled_from([200, 203, 204, 206, 301, 302, 304, 404, 410, 418, 500, 503]),
    head=st.lists(LINES, max_size=4).map(tuple),
    first=FIELDS,
    second=FIELDS,
    second_method=st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    date_offset_s=st.sampled_from([0, 0, -3, -40, 50, None]),
    later_s=st.sampled_from([0, 1, 4, 20, 35, 59, 61, 1000]),
)


@settings(max_examples=500, deadline=None)
@given(STORIES)
def test_both_give_the_same_answer_but_for_the_known_differences(story: Story) -> None:
    if ours(story) != hishels(story):
        assert [reason for reason, (applies, _) in KNOWN.items() if applies(story)]


@settings(max_examples=500, deadline=None)
@given(STORIES)
def test_both_give_the_same_answer_where_no_difference_is_known(story: Story) -> None:
    """As above, with what differs taken out of the story, so that the rest is compared often."""
    story = replace(
        story,
        head=tuple(line for line in story.head if not line.startswith(("Age", "Set-Cookie", "Vary: Accept-Enc"))),
        second={name: value for name, value in story.second.items() if value != "max-age=3"},
        second_method="GET",
        date_offset_s=min(story.date_offset_s or 0, 0),
    )
    if "authorization" in story.second and not parse_cache_control(story.cache_control).shareable:
        del story.second["authorization"]
    if not any(KNOWN[reason][0](story) for reason in KNOWN if "credentials" not in reason):
        assert ours(story) == hishels(story)
