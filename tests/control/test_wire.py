"""Messages come in pieces of any size, and what is no message is said to be none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.control import wire

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
messages = st.dictionaries(st.text(), values, max_size=6)


@given(messages, st.lists(st.integers(1, 40), min_size=1))
def test_message_comes_through_whatever_the_pieces(message: dict[str, object], sizes: list[int]) -> None:
    data = wire.encode(message, wire.REPLY_MAX)
    reader = wire.Reader(wire.REPLY_MAX)
    at, turn, found = 0, 0, None
    while at < len(data):
        assert found is None, "not before it is whole"
        size = sizes[turn % len(sizes)]
        found = reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert found == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_none_or_an_error(data: bytes) -> None:
    reader = wire.Reader(1000)
    try:
        found = reader.feed(data)
    except wire.WireError:
        return
    assert found is None or isinstance(found, dict)


def test_length_past_the_bound_is_refused_before_the_body_comes() -> None:
    reader = wire.Reader(10)
    with pytest.raises(wire.WireError, match="11 bytes are more than the 10"):
        reader.feed((11).to_bytes(4, "big"))


def test_answer_of_the_largest_size_is_taken() -> None:
    message = {"x": "y" * (1000 - len('{"x":""}'))}
    assert wire.Reader(1000).feed(wire.encode(message, 1000)) == message
    with pytest.raises(wire.WireError):
        wire.encode({"x": message["x"] + "y"}, 1000)
