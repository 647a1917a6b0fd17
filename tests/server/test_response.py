"""Response heads as a table: status, method, version and framing in, bytes and what follows from them out."""

from __future__ import annotations

import itertools
import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server import response
from django_wsgiperf.server.response import CHUNKED, CLOSE, LENGTH, NONE, HeadWriter, ResponseError, plain_response

BOOLEANS = [False, True]


def write(
    status: Any = "200 OK",
    headers: Any = (),
    *,
    head: bool = False,
    http10: bool = False,
    keep_alive: bool = True,
    length: int | None = None,
    writer: HeadWriter | None = None,
) -> tuple[list[str], int, int, int, bool]:
    """The head's lines without Date, and the rest of what the writer says."""
    data, *rest = (writer or HeadWriter()).write(status, list(headers), head, http10, keep_alive, length)
    assert data.endswith(b"\r\n\r\n")
    lines = data[:-4].decode("latin-1").split("\r\n")
    return [line for line in lines if not line.startswith("Date: ")], *rest  # type: ignore[return-value]


def framed_as(lines: list[str]) -> tuple[str | None, bool]:
    """Content-Length and whether the body is chunked, as a client reads them; each may stand there once."""
    names = [line.partition(":")[0].lower() for line in lines[1:]]
    assert names.count("content-length") + names.count("transfer-encoding") <= 1
    values = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines[1:]}
    return values.get("Content-Length"), values.get("Transfer-Encoding") == "chunked"


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "206 Partial", "304 Not", "404 No"])
@pytest.mark.parametrize("http10", BOOLEANS, ids=["1.1", "1.0"])
@pytest.mark.parametrize("head", BOOLEANS, ids=["GET", "HEAD"])
def test_framing_of_every_combination(status: str, http10: bool, head: bool) -> None:
    for keep_alive, declared, known in itertools.product(BOOLEANS, [None, 0, 7], [None, 0, 7]):
        headers = [] if declared is None else [("Content-Length", str(declared))]
        lines, code, framing, left, kept = write(
            status, headers, head=head, http10=http10, keep_alive=keep_alive, length=known
        )
        length, chunked = framed_as(lines)
        told = declared if declared is not None else known
        assert code == int(status[:3])
        if code in (204, 304):
            assert (framing, length, chunked) == (NONE, None, False)
        elif head:
            # Of a body that was not made for HEAD, and is empty therefore, nothing is known.
            expected = declared if declared is not None else known or None
            assert (framing, length, chunked) == (NONE, None if expected is None else str(expected), False)
        elif told is not None:
            assert (framing, length, chunked, left) == (LENGTH, str(told), False, told)
        elif http10:
            assert (framing, length, chunked) == (CLOSE, None, False)
        else:
            assert (framing, length, chunked) == (CHUNKED, None, True)
        assert kept == (keep_alive and framing != CLOSE)
        connection = [line for line in lines if line.startswith("Connection")]
        assert connection == ([] if kept and not http10 else [f"Connection: {'keep-alive' if kept else 'close'}"])


@pytest.mark.parametrize(
    "name", ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "upgrade", "KEEP-ALIVE"]
)
def test_hop_by_hop_fields_of_the_application_are_not_sent(name: str) -> None:
    lines = write(headers=[(name, "x"), ("X-A", "b")], length=0)[0]
    assert lines == ["HTTP/1.1 200 OK", "X-A: b", "Content-Length: 0"]


@pytest.mark.parametrize("value", ["chunked", "gzip, chunked", "identity", ""])
@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING"])
def test_transfer_coding_is_the_servers(name: str, value: str) -> None:
    with pytest.raises(ResponseError, match="server's to set"):
        write(headers=[(name, value)])


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
def test_application_may_ask_for_the_connections_end(value: str) -> None:
    lines, *_, keep_alive = write(headers=[("Connection", value)], length=1)
    assert lines[-1] == "Connection: close"
    assert not keep_alive


def test_application_cannot_keep_a_connection_that_is_to_end() -> None:
    lines, *_, keep_alive = write(headers=[("Connection", "keep-alive")], keep_alive=False, length=1)
    assert lines[-1] == "Connection: close"
    assert not keep_alive


CONTROLS = [chr(code) for code in (*range(9), *range(10, 32), 127)]
FORBIDDEN = [*CONTROLS, "\r\n", "\r\nSet-Cookie: a=b", "\n ", "\r\n\r\n<html>"]


@pytest.mark.parametrize("bad", FORBIDDEN)
@pytest.mark.parametrize("place", ["{}x", "x{}", "x{}y"])
@pytest.mark.parametrize("part", ["name", "value", "status", "date", "cookie"])
def test_no_part_of_a_head_has_control_characters_or_can_begin_another_line(part: str, place: str, bad: str) -> None:
    text = place.format(bad)
    status = f"200 {text}" if part == "status" else "200 OK"
    headers = {
        "name": [(text, "v")],
        "value": [("X-A", text)],
        "date": [("Date", text)],
        "cookie": [("Set-Cookie", "a=b"), ("Set-Cookie", text)],
    }.get(part, [])
    with pytest.raises(ResponseError) as caught:
        write(status, headers)
    if part in ("value", "cookie"):
        assert text not in str(caught.value), "values may be secrets"


@pytest.mark.parametrize("value", ["a\tb", "\t", "\x80\x9f\xff", "", " a "])
def test_value_may_have_tabs_and_whatever_else_is_latin_1(value: str) -> None:
    assert write("200 \t\xe9", [("X-A", value)])[0][:2] == ["HTTP/1.1 200 \t\xe9", f"X-A: {value}"]


def test_refused_name_is_refused_the_second_time_too() -> None:
    writer = HeadWriter()
    for _ in range(2):
        with pytest.raises(ResponseError):
            write(headers=[("X\r\nA", "b")], writer=writer)
        with pytest.raises(ResponseError):
            write("200 OK\r\nX-A: b", writer=writer)


def test_error_names_the_header_and_keeps_its_value() -> None:
    with pytest.raises(ResponseError, match=r"a control character: Set-Cookie$"):
        write(headers=[("X-A", "b"), ("Set-Cookie", "session=secret\n")])
    with pytest.raises(ResponseError, match=r"not latin-1: X-Name$"):
        write(headers=[("X-A", "b"), ("X-Name", "\u20ac")])


@pytest.mark.parametrize("name", ["", " ", "X A", "X:", ":X", "X\t", "\u00e9", "X(", 'X"', "X{", "\x7f", b"X", None, 7])
def test_malformed_name_is_refused(name: Any) -> None:
    with pytest.raises(ResponseError, match="no header name"):
        write(headers=[(name, "v")])


@pytest.mark.parametrize("value", [b"v", None, 7, ["v"]])
@pytest.mark.parametrize("name", ["X-A", "Content-Length", "Connection", "Date"])
def test_value_that_is_no_text_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ResponseError, match=f"{name} must be str, not"):
        write(headers=[(name, value)])


@pytest.mark.parametrize("item", ["X-A: b", ["X-A", 7], ("X-A",), ("X-A", "b", "c"), None, 7])
def test_header_that_is_no_pair_is_refused(item: Any) -> None:
    with pytest.raises(ResponseError, match=r"\(name, value\)"):
        write(headers=[item])


@pytest.mark.parametrize(
    "status", ["", "OK", "20 OK", "2000 OK", "200OK", " 200 OK", "+20 OK", "100 Continue", "101 Switching", "099 Low"]
)
def test_malformed_status_is_refused(status: str) -> None:
    with pytest.raises(ResponseError, match="status"):
        write(status)


@pytest.mark.parametrize("status", [200, b"200 OK", None, "200 \u20ac"])
def test_status_of_another_type_or_alphabet_is_refused(status: Any) -> None:
    with pytest.raises(ResponseError, match="status"):
        write(status)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("200 OK", "HTTP/1.1 200 OK"),
        ("299 Every thing: fine", "HTTP/1.1 299 Every thing: fine"),
        ("599 caf\u00e9", "HTTP/1.1 599 caf\u00e9"),
        ("404 ", "HTTP/1.1 404 "),
        ("404", "HTTP/1.1 404 "),
    ],
)
def test_reason_is_the_applications_and_its_space_is_there_without_one(status: str, line: str) -> None:
    """RFC 9112 section 4: the space after the code is not optional, the reason is."""
    assert write(status)[0][0] == line


@pytest.mark.parametrize("value", ["+1", "-1", "", " 1", "1 ", "1_0", "0x1", "1.0", "1,1", "\u0661", "one"])
def test_content_length_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ResponseError, match="must be a number"):
        write(headers=[("Content-Length", value)])


def test_two_lengths_that_differ_are_refused_and_equal_ones_are_sent_once() -> None:
    with pytest.raises(ResponseError, match="differ"):
        write(headers=[("Content-Length", "1"), ("content-length", "2")])
    lines = write(headers=[("Content-Length", "5"), ("content-length", "05")])[0]
    assert lines == ["HTTP/1.1 200 OK", "Content-Length: 5"]


def test_length_of_the_application_beats_the_counted_one() -> None:
    """A wrong one is for the gateway to notice: it closes the connection then."""
    assert write(headers=[("Content-Length", "9")], length=3)[3] == 9


def test_there_is_one_date_the_applications_if_it_sends_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000.7
    monkeypatch.setattr(response.time, "time", lambda: now)
    writer = HeadWriter()
    head = writer.write("200 OK", [], False, False, True, 0)[0]
    assert head.count(b"Date: ") == 1
    assert b"\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n" in head
    now += 1
    assert b"22:13:21 GMT" in writer.write("200 OK", [], False, False, True, 0)[0]
    own = writer.write("200 OK", [("date", "Mon, 01 Jan 2024 00:00:00 GMT")], False, False, True, 0)[0]
    assert own.lower().count(b"date: ") == 1
    assert b"date: Mon, 01 Jan 2024" in own


def test_server_is_told_only_if_the_application_does() -> None:
    assert not any(line.startswith("Server") for line in write()[0])
    assert "Server: mine" in write(headers=[("Server", "mine")])[0]


def test_fields_keep_their_order_case_and_repetition() -> None:
    headers = [("set-cookie", "a=1"), ("X-B", ""), ("Set-Cookie", "b=2"), ("X-\u0041", "caf\u00e9\t; x")]
    assert write(headers=headers, length=0)[0][1:5] == [f"{name}: {value}" for name, value in headers]


def test_tables_of_the_writer_are_bounded() -> None:
    writer = HeadWriter()
    for number in range(3000):
        assert write(f"200 OK {number}", [(f"X-{number}", "v")], writer=writer)[0][1] == f"X-{number}: v"
    assert len(writer._kinds) <= 1024
    assert len(writer._statuses) <= 1024


text = st.text(st.characters(max_codepoint=0x17F), max_size=12)


@given(
    status=st.one_of(st.just("200 OK"), text, text.map("200 ".__add__)),
    headers=st.lists(
        st.tuples(st.one_of(st.sampled_from(["Content-Length", "Connection", "Transfer-Encoding", "X-A"]), text), text),
        max_size=4,
    ),
    head=st.booleans(),
    http10=st.booleans(),
    length=st.none() | st.integers(0, 99),
)
def test_whatever_is_written_reads_as_one_head_with_one_framing(
    status: str, headers: list[tuple[str, str]], head: bool, http10: bool, length: int | None
) -> None:
    try:
        data = HeadWriter().write(status, headers, head, http10, True, length)[0]
    except ResponseError:
        return
    assert data.count(b"\r\n\r\n") == 1
    first, *fields = data[:-4].decode("latin-1").split("\r\n")
    assert re.fullmatch(r"HTTP/1\.1 [2-9][0-9]{2} [\t -~\x80-\xff]*", first)
    assert all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*", field) for field in fields)
    framed_as([first, *fields])
    wanted = [(name, value) for name, value in headers if name not in ("Content-Length", "Connection")]
    assert [tuple(field.split(": ", 1)) for field in fields][: len(wanted)] == wanted


@pytest.mark.parametrize("keep_alive", BOOLEANS)
@pytest.mark.parametrize("code", [400, 408, 413, 414, 431, 500, 501, 503, 504, 505])
def test_answer_of_the_servers_own_is_whole(code: int, keep_alive: bool) -> None:
    date = HeadWriter().date()
    data = plain_response(code, "caf\u00e9\n", keep_alive=keep_alive, date=date, headers=[("Retry-After", "1")])
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert re.fullmatch(rf"HTTP/1\.1 {code} [A-Za-z -]+", lines[0])
    assert body.decode() == "caf\u00e9\n"
    assert {f"Content-Length: {len(body)}", "Cache-Control: no-store", "Retry-After: 1"} <= set(lines)
    assert ("Connection: close" in lines) is not keep_alive
    assert parsedate_to_datetime(lines[1].removeprefix("Date: ")).tzinfo is not None
    assert plain_response(code, "caf\u00e9\n", keep_alive=keep_alive, date=date, bodiless=True).endswith(b"\r\n\r\n")
