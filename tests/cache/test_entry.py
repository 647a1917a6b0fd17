"""An entry survives its envelope unchanged, and whatever is not a sound envelope is no entry."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from dataclasses import FrozenInstanceError, replace
from types import MappingProxyType

import pytest
from django.core.cache.backends.redis import RedisSerializer
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from django_wsgiperf.cache.entry import MAGIC, MUST_VALIDATE, NO_TRANSFORM, Entry

spans = st.floats(min_value=0, max_value=1e12, allow_nan=False)
texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
entries = st.builds(
    Entry,
    status=st.integers(200, 599),
    reason=texts,
    headers=st.lists(st.tuples(texts, texts), max_size=6).map(tuple),
    body=st.binary(max_size=200),
    stored_at=spans,
    initial_age_s=spans,
    lifetime_s=spans,
    swr_s=spans,
    sie_s=spans,
    keep_s=spans,
    sequence=st.integers(0, 2**63),
    tags=st.lists(texts, max_size=4).map(tuple),
    vary=st.lists(st.tuples(texts, st.none() | texts), max_size=4).map(tuple),
    render_s=spans,
    flags=st.integers(0, 2**32 - 1),
    codings=st.dictionaries(st.sampled_from(["gzip", "br", "zstd"]), st.binary(max_size=50)).map(MappingProxyType),
    route=texts,
)

page = Entry(
    200,
    "OK",
    (("Content-Type", "text/html; charset=utf-8"), ("ETag", '"1"'), ("X-Name", "caf\xe9")),
    b"<p>Hello</p>",
    stored_at=1_700_000_000.0,
    lifetime_s=60.0,
    sequence=17,
    tags=("u:abc", "shop.book:1"),
    vary=(("cookie", None), ("accept-language", "")),
    flags=MUST_VALIDATE | NO_TRANSFORM,
    codings=MappingProxyType({"gzip": b"\x1f\x8b"}),
    route="/books/<int:pk>/",
)


@given(entries)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert Entry.from_bytes(entry.to_bytes()) == entry


def test_an_absent_field_is_not_an_empty_one() -> None:
    again = Entry.from_bytes(page.to_bytes())
    assert again is not None
    assert again.vary == (("cookie", None), ("accept-language", ""))


@given(entries, st.data())
def test_any_changed_byte_makes_it_no_entry(entry: Entry, data: st.DataObject) -> None:
    envelope = bytearray(entry.to_bytes())
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= data.draw(st.integers(1, 255))
    assert Entry.from_bytes(bytes(envelope)) is None


@given(entries, st.data())
def test_a_cut_or_lengthened_envelope_is_no_entry(entry: Entry, data: st.DataObject) -> None:
    envelope = entry.to_bytes()
    assert Entry.from_bytes(envelope[: data.draw(st.integers(0, len(envelope) - 1))]) is None
    assert Entry.from_bytes(envelope + data.draw(st.binary(min_size=1, max_size=9))) is None


def _signed(content: bytes, magic: bytes = MAGIC) -> bytes:
    return magic + struct.pack("<Q", xxh3_64_intdigest(content)) + content


@given(entries, st.data())
def test_a_forged_envelope_with_a_right_checksum_breaks_nothing(entry: Entry, data: st.DataObject) -> None:
    content = bytearray(entry.to_bytes()[12:])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = Entry.from_bytes(_signed(bytes(content)))
    assert found is None or isinstance(found, Entry)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_with_a_right_checksum_break_nothing(content: bytes) -> None:
    found = Entry.from_bytes(_signed(content))
    assert found is None or isinstance(found, Entry)


@given(st.binary(max_size=100) | st.none() | st.integers() | st.text() | st.lists(st.integers()))
def test_whatever_else_a_store_returns_is_no_entry(value: object) -> None:
    assert Entry.from_bytes(value) is None


def test_a_pickle_is_never_opened() -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("a pickle was opened",))

    assert Entry.from_bytes(pickle.dumps(Trap())) is None
    assert Entry.from_bytes(_signed(pickle.dumps(Trap()))) is None


def test_another_version_is_no_entry() -> None:
    content = page.to_bytes()[12:]
    assert Entry.from_bytes(_signed(content)) == page
    assert Entry.from_bytes(_signed(content, MAGIC[:3] + b"\x01")) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_a_time_that_would_never_pass_is_no_entry(number: float) -> None:
    for name in ("stored_at", "initial_age_s", "lifetime_s", "swr_s", "sie_s", "keep_s", "render_s"):
        assert Entry.from_bytes(replace(page, **{name: number}).to_bytes()) is None  # type: ignore[arg-type]


@given(entries)
def test_an_envelope_is_never_taken_for_a_number(entry: Entry) -> None:
    # Django's serializers for Redis first try int(value).
    with pytest.raises(ValueError, match="invalid literal"):
        int(entry.to_bytes())
    with pytest.raises(pickle.UnpicklingError):
        RedisSerializer().loads(entry.to_bytes())


def test_a_number_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="status 70000 cannot"):
        replace(page, status=70_000).to_bytes()


def test_an_entry_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        page.status = 500  # type: ignore[misc]
    again = Entry.from_bytes(page.to_bytes())
    assert again is not None
    with pytest.raises(TypeError):
        again.codings["br"] = b""  # type: ignore[index]


@pytest.mark.parametrize(("fields", "tags", "body"), [(0, 0, 0), (3, 2, 100), (40, 40, 5_000)])
def test_an_entry_is_charged_for_no_less_than_it_takes(fields: int, tags: int, body: int) -> None:
    made = replace(
        page,
        headers=tuple((f"X-Field-{number}", f"value {number}") for number in range(fields)),
        tags=tuple(f"shop.book:{number}" for number in range(tags)),
        body=b"x" * body,
    )
    envelope = made.to_bytes()
    tracemalloc.start()
    try:
        kept = [Entry.from_bytes(envelope) for _ in range(200)]
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / len(kept) <= made.size <= 3 * taken / len(kept)
