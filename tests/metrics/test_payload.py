"""Bytes of sums: the same comes back, damage is noticed, and a newer version is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.metrics import packing, payload
from django_wsgiperf.metrics.histogram import Histogram
from django_wsgiperf.metrics.record import Record
from django_wsgiperf.metrics.tally import Cell, Tally

from .making import MS, record, records, tally_of
from .test_tally import routes, told

some = st.lists(records, min_size=1, max_size=15)


@given(some)
def test_routes_come_back_as_they_were(found: list[Record]) -> None:
    tally = tally_of(found)
    assert routes(payload.Detail(payload.pack_detail(tally)).tally()) == routes(tally)


@given(some)
def test_summary_comes_back_as_it_was(found: list[Record]) -> None:
    tally = tally_of(found, release="v1")
    tally.marks = [(12.5, "start", "v1", "one:1:0000aaaa")]
    tally.thread_ns, tally.queue_peak, tally.dropped = 12, 3, 4
    read, total = payload.unpack_summary(payload.pack_summary(tally, tally.total()))
    assert told(total) == {**told(tally.total()), "database": Histogram()}
    for name in ("marks", "thread_ns", "queue_peak", "dropped", "releases"):
        assert getattr(read, name) == getattr(tally, name), name


def test_one_route_is_read_without_the_others() -> None:
    tally = tally_of([record("/a/", db_ns=5000, queries=2), record("/b/", ttfb_ns=7 * MS)])
    detail = payload.Detail(payload.pack_detail(tally))
    cell = Cell()
    assert detail.add("/b/", cell)
    assert told(cell) == told(tally.routes["/b/"])
    assert not detail.add("/none/", cell)
    assert detail.walls() == [tally.routes["/a/"].wall_ns, tally.routes["/b/"].wall_ns]
    assert detail.sums("queries") == [2, 0]


def test_what_was_read_is_not_changed_by_what_becomes_of_it() -> None:
    detail = payload.Detail(payload.pack_detail(tally_of([record(queries=1, cache_ns=1, page_cache="hit")])))
    first = detail.tally()
    first.merge(first, 100)
    assert routes(detail.tally()) != routes(first)
    assert detail.tally().routes["/books/"].page_cache == {"hit": 1}


def test_counts_of_years_fit() -> None:
    tally = tally_of([record()])
    response = tally.routes["/books/"].response
    response.buckets = dict.fromkeys(response.buckets, 1 << 40)
    response.count = 1 << 40
    assert routes(payload.Detail(payload.pack_detail(tally)).tally()) == routes(tally)


def test_samples_come_back_and_common_texts_are_written_once() -> None:
    sql = "SELECT 1 FROM a_table_with_a_long_name WHERE id = %s " * 10
    found = [record(ttfb_ns=number * MS) for number in range(1, 4)]
    for each in found:
        each.spans = [("db", 10, 20, sql)] * 30
        each.queries = {sql: [30, 600, "shop/views.py:3 in view"]}
        each.stacks = ["File views.py, line 3"]
    samples = tally_of(found).samples
    packed = payload.pack_samples(samples)
    assert payload.unpack_samples(packed) == samples
    assert json.dumps(json.loads(payload.unpack(packed))).count("a_table_with_a_long_name") == 10
    assert payload.pack_samples([]) == b""
    assert payload.unpack_samples(b"") == []


def packed() -> list[bytes]:
    tally = tally_of([record(queries=3), record("/b/")])
    return [payload.pack_summary(tally, tally.total()), payload.pack_detail(tally), payload.pack_samples(tally.samples)]


def read_all(data: bytes) -> None:
    """Whatever it claims to be, completely."""
    readers = (payload.unpack_summary, lambda each: payload.Detail(each).tally(), payload.unpack_samples)
    failures = 0
    for read in readers:
        try:
            read(data)
        except payload.Unreadable:
            failures += 1
    assert failures >= 2, "only one reader may take it for its own"


@pytest.mark.parametrize("kind", range(3))
def test_every_cut_is_noticed(kind: int) -> None:
    data = packed()[kind]
    readers = (payload.unpack_summary, payload.Detail, payload.unpack_samples)
    for end in range(1, len(data)):
        with pytest.raises(payload.Unreadable):
            readers[kind](data[:end])


@given(st.integers(0, 2), st.data())
def test_flipped_bits_never_raise_anything_else(kind: int, data: st.DataObject) -> None:
    damaged = bytearray(packed()[kind])
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    read_all(bytes(damaged))


@given(st.binary(max_size=200))
def test_noise_never_raises_anything_else(noise: bytes) -> None:
    for data in (noise, payload.pack(noise)):
        for read in (payload.unpack_summary, lambda each: payload.Detail(each).tally(), payload.unpack_json):
            try:
                read(data)
            except payload.Unreadable:
                continue


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["sums", "marks", "response", "routes", "extras", "places", "samples", "texts", "queue", "database"]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_json_of_another_shape_never_raises_anything_else(value: object) -> None:
    text = json.dumps(value).encode()
    for data in (payload.pack(text), payload.pack(len(text).to_bytes(4, "little") + text)):
        for read in (payload.unpack_summary, lambda each: payload.Detail(each).tally(), payload.unpack_samples):
            try:
                read(data)
            except payload.Unreadable:
                continue


def test_newer_version_is_told_from_damage() -> None:
    for data in packed():
        with pytest.raises(payload.Newer):
            payload.unpack(bytes((payload.VERSION + 1,)) + data[1:])
        for read in (payload.unpack_summary, payload.Detail, payload.unpack_samples):
            with pytest.raises(payload.Newer):
                read(bytes((payload.VERSION + 1,)) + data[1:])
    with pytest.raises(payload.Unreadable):
        payload.unpack(b"")


def test_unknown_keys_are_passed_over_and_missing_ones_are_zero() -> None:
    tally = tally_of([record(queries=3)])
    value = payload.unpack_json(payload.pack_summary(tally, tally.total()))
    value["invented_later"] = {"x": 1}
    value["sums"]["invented_later"] = 5
    del value["sums"]["queries"], value["thread_ns"], value["releases"]
    read, total = payload.unpack_summary(payload.pack_json(value))
    assert total["requests"] == 1
    assert total["queries"] == 0
    assert read.thread_ns == 0


def test_bytes_that_would_fill_the_memory_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_MAX_BYTES", 1000)
    with pytest.raises(payload.Unreadable):
        payload.unpack(payload.pack(bytes(100_000)))


def test_text_that_is_no_unicode_survives() -> None:
    tally: Tally = tally_of([record("/\udcff/")])
    assert list(payload.Detail(payload.pack_detail(tally)).tally().routes) == ["/\udcff/"]


def test_databases_of_older_rows_have_fewer_numbers() -> None:
    tally = tally_of([record(queries=3, db_ns=MS)])
    (cell,) = tally.routes.values()
    cell.databases = {"default": [3, 6, 1000 * 1000, 0, 0]}
    total = tally.total()
    _, read = payload.unpack_summary(payload.pack_summary(tally, total))
    assert read.databases == {"default": [3, 6, 1000 * 1000, 0, 0, 0]}
    cell.databases = {"default": [3, 6, 1000 * 1000, 0, 0, 2]}
    (again,) = payload.Detail(payload.pack_detail(tally)).tally().routes.values()
    assert again.databases == cell.databases
