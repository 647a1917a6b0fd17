"""Request heads, rule by rule: what is refused and with which status, and what the application sees of the rest."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_wsgiperf.server import http1
from django_wsgiperf.server.http1 import CHUNKED, HEAD_END, METHODS, Environ, HeadParser, HTTPError, Limits, Request

HOST = b"Host: example.org"
LINE = b"GET / HTTP/1.1"


def lines(*parts: bytes) -> bytes:
    return b"\r\n".join(parts) + HEAD_END


def parse(*parts: bytes, limits: Limits | None = None, base: Environ | None = None) -> Request:
    return HeadParser(limits).parse(lines(*parts), {} if base is None else base)


def status_of(head: bytes, limits: Limits | None = None) -> int:
    with pytest.raises(HTTPError) as caught:
        HeadParser(limits).parse(head, {})
    return caught.value.status


def table(*rows: Any) -> Any:
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


# -- the request line


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_that_is_listed_is_understood_by_llhttp_too(method: str) -> None:
    assert parse(f"{method} /x HTTP/1.1".encode(), HOST).method == method


@pytest.mark.parametrize(
    ("line", "status"),
    table(
        ("no target", b"GET", 400),
        ("HTTP/0.9", b"GET /", 400),
        ("empty target", b"GET  HTTP/1.1", 400),
        ("two blanks before the target", b"GET  / HTTP/1.1", 400),
        ("two blanks before the version", b"GET /  HTTP/1.1", 400),
        ("blank in the target", b"GET /a b HTTP/1.1", 400),
        ("blank at the end", b"GET / HTTP/1.1 ", 400),
        ("blank at the beginning", b" GET / HTTP/1.1", 400),
        ("tabs for blanks", b"GET\t/\tHTTP/1.1", 400),
        ("tab in the target", b"GET /\t HTTP/1.1", 400),
        ("vertical tab for a blank", b"GET /\x0bHTTP/1.1", 400),
        ("form feed in the target", b"GET /\x0c HTTP/1.1", 400),
        ("NUL in the target", b"GET /\x00 HTTP/1.1", 400),
        ("DEL in the target", b"GET /\x7f HTTP/1.1", 400),
        ("bare LF", b"GET / HTTP/1.1\nX: y", 400),
        ("bare CR", b"GET / HTTP/1.1\rX: y", 400),
        ("CR in the target", b"GET /\rx HTTP/1.1", 400),
        ("two CRs", b"GET / HTTP/1.1\r", 400),
        ("lower-case method", b"get / HTTP/1.1", 501),
        ("unknown method", b"BREW / HTTP/1.1", 501),
        ("endless method", b"A" * 300 + b" / HTTP/1.1", 501),
        ("unknown method in a line that is none", b"hello world", 400),
        ("method with a colon", b"GET: / HTTP/1.1", 400),
        ("method with a NUL", b"GE\x00T / HTTP/1.1", 400),
        ("CONNECT to an authority", b"CONNECT example.org:443 HTTP/1.1", 501),
        ("CONNECT to a path", b"CONNECT / HTTP/1.1", 501),
        ("RTSP method", b"DESCRIBE / HTTP/1.1", 501),
        ("RTSP", b"DESCRIBE rtsp://example.org/ RTSP/1.0", 400),
        ("ICE", b"SOURCE / ICE/1.0", 400),
        ("HTTP/2 preface's line", b"PRI * HTTP/2.0", 505),
        ("PRI without HTTP/2", b"PRI * HTTP/1.1", 501),
        ("HTTP/2.0", b"GET / HTTP/2.0", 505),
        ("HTTP/0.9 written out", b"GET / HTTP/0.9", 505),
        ("HTTP/1.2", b"GET / HTTP/1.2", 505),
        ("HTTP/3.0 with an unknown method", b"BREW / HTTP/3.0", 505),
        ("HTTP/1.10", b"GET / HTTP/1.10", 400),
        ("HTTP/01.1", b"GET / HTTP/01.1", 400),
        ("HTTP/1", b"GET / HTTP/1", 400),
        ("HTTP/1,1", b"GET / HTTP/1,1", 400),
        ("HTTP/+1.1", b"GET / HTTP/+1.1", 400),
        ("HTTP/1.1x", b"GET / HTTP/1.1x", 400),
        ("lower-case protocol", b"GET / http/1.1", 400),
        ("another protocol", b"GET / HTCPCP/1.0", 400),
    ),
)
def test_malformed_request_line_is_refused(line: bytes, status: int) -> None:
    assert status_of(lines(line, HOST)) == status


def test_preface_of_http2_is_told_which_versions_are_spoken() -> None:
    assert status_of(b"PRI * HTTP/2.0\r\n\r\n") == 505


# -- targets


@pytest.mark.parametrize(
    ("target", "path_info", "query"),
    table(
        ("root", b"/", "/", ""),
        ("query", b"/a?b=c&d", "/a", "b=c&d"),
        ("empty query", b"/a?", "/a", ""),
        ("second question mark", b"/a?b?c", "/a", "b?c"),
        ("two slashes are a path, not an authority", b"//evil.example/x", "//evil.example/x", ""),
        ("dots stay", b"/a/../b/./c", "/a/../b/./c", ""),
        ("decoded once", b"/%2561", "/%61", ""),
        ("blank", b"/a%20b", "/a b", ""),
        ("slash", b"/a%2Fb", "/a/b", ""),
        ("question mark", b"/a%3Fb", "/a?b", ""),
        ("plus is no blank", b"/a+b", "/a+b", ""),
        ("UTF-8 becomes latin-1 of its bytes", b"/caf%C3%A9", "/caf\xc3\xa9", ""),
        ("any byte", b"/%ff%0A", "/\xff\n", ""),
        ("query is not decoded", b"/?a=%C3%A9%zz%00", "/", "a=%C3%A9%zz%00"),
        ("what browsers leave raw", b'/|{}^`"<>\\', '/|{}^`"<>\\', ""),
        ("absolute form", b"http://example.org/a?b", "/a", "b"),
        ("absolute form without a path", b"http://example.org", "/", ""),
        ("absolute form without a path, with a query", b"http://example.org?a=b", "/", "a=b"),
        ("absolute form, shouted", b"HTTP://example.org/a", "/a", ""),
        ("absolute form of https", b"https://example.org/a", "/a", ""),
        ("absolute form of two slashes", b"http://example.org//a", "//a", ""),
    ),
)
def test_target_becomes_path_info_and_query(target: bytes, path_info: str, query: str) -> None:
    request = parse(b"GET " + target + b" HTTP/1.1", HOST)
    environ = request.environ
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path_info, query)
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target.decode("ascii")
    assert environ["HTTP_HOST"] == "example.org"


def test_path_of_the_request_is_the_encoded_path() -> None:
    assert parse(b"GET http://example.org/a%20b?c HTTP/1.1", HOST).path == b"/a%20b"


def test_asterisk_is_the_servers_root_for_options_only() -> None:
    environ = parse(b"OPTIONS * HTTP/1.1", HOST).environ
    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("/", "*")
    assert status_of(lines(b"GET * HTTP/1.1", HOST)) == 400


@pytest.mark.parametrize(
    "target",
    table(
        ("fragment", b"/a#b"),
        ("fragment after a query", b"/a?b#c"),
        ("fragment in absolute form", b"http://example.org#a"),
        ("raw UTF-8 in the path", "/café".encode()),
        ("raw latin-1 in the query", b"/?caf\xe9"),
        ("percent and no digits", b"/%"),
        ("percent and one digit", b"/%4"),
        ("percent and no hexadecimal digits", b"/%zz"),
        ("encoded NUL", b"/a%00b"),
        ("no slash", b"a"),
        ("authority form", b"example.org:80"),
        ("asterisk with a tail", b"*a"),
        ("query alone", b"?a=b"),
        ("other scheme", b"ftp://example.org/"),
        ("file", b"file:///etc/passwd"),
        ("one slash after the scheme", b"http:/example.org/"),
        ("no authority", b"http:///a"),
        ("nothing after the scheme", b"http://"),
        ("user information", b"http://user@example.org/"),
        ("user and password", b"http://user:secret@example.org/"),
        ("port that is no number", b"http://example.org:http/"),
        ("backslash in the authority", b"http://example.org\\@evil.example/"),
        ("two authorities", b"http://example.org,evil.example/"),
    ),
)
def test_malformed_target_is_refused(target: bytes) -> None:
    assert status_of(lines(b"GET " + target + b" HTTP/1.1", HOST)) == 400


# -- Host


@pytest.mark.parametrize(
    "host",
    [
        "example.org", "EXAMPLE.org.", "example.org:8000", "example.org:", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000",
        "[2001:db8::192.0.2.1]", "my_service", "xn--caf-dma.example", "a%20b", "a~b!c$d&e'f(g)h*i+j;k=l", "localhost:65535",
    ],
)  # fmt: skip
def test_host_reaches_the_application_as_sent(host: str) -> None:
    assert parse(LINE, f"Host: {host}".encode()).environ["HTTP_HOST"] == host


@pytest.mark.parametrize(
    "host",
    table(
        ("empty", b""),
        ("blanks", b" \t "),
        ("port alone", b":80"),
        ("port of letters", b"example.org:a"),
        ("port out of range", b"example.org:65536"),
        ("long port", b"example.org:000080"),
        ("two ports", b"example.org:80:81"),
        ("negative port", b"example.org:-1"),
        ("bare IPv6", b"::1"),
        ("open bracket", b"[::1"),
        ("closed bracket", b"::1]"),
        ("empty brackets", b"[]"),
        ("no IPv6 address", b"[:::]"),
        ("IPv4 in brackets", b"[127.0.0.1]"),
        ("zone", b"[fe80::1%25eth0]"),
        ("after the bracket", b"[::1]x"),
        ("list", b"a.example, b.example"),
        ("list without blanks", b"a.example,b.example"),
        ("blank inside", b"a.example b.example"),
        ("path", b"example.org/a"),
        ("scheme", b"http://example.org"),
        ("user", b"user@example.org"),
        ("query", b"example.org?a"),
        ("fragment", b"example.org#a"),
        ("backslash", b"example.org\\a"),
        ("half an escape", b"example.org%2"),
        ("no ASCII", "café.example".encode()),
        ("angle brackets", b"<script>"),
        ("quotes", b'"example.org"'),
    ),
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_malformed_host_is_refused(host: bytes, version: bytes) -> None:
    assert status_of(lines(b"GET / " + version, b"Host: " + host)) == 400


def test_host_is_needed_from_http11_on() -> None:
    assert status_of(lines(LINE)) == 400
    assert status_of(lines(b"GET http://example.org/ HTTP/1.1")) == 400
    assert "HTTP_HOST" not in parse(b"GET / HTTP/1.0").environ


@pytest.mark.parametrize("second", [b"Host: example.org", b"host: evil.example", b"HOST:"])
def test_second_host_is_refused_even_if_it_is_the_same(second: bytes) -> None:
    assert status_of(lines(LINE, HOST, second)) == 400
    assert status_of(lines(LINE, second, HOST)) == 400


def test_absolute_form_overrides_the_host_field_but_does_not_excuse_it() -> None:
    line = b"GET http://b.example:81/ HTTP/1.1"
    assert parse(line, b"Host: a.example").environ["HTTP_HOST"] == "b.example:81"
    assert parse(b"GET http://b.example/ HTTP/1.0").environ["HTTP_HOST"] == "b.example"
    assert status_of(lines(line, b"Host: a,b")) == 400


def test_hosts_that_were_good_once_are_kept_only_up_to_a_bound() -> None:
    parser = HeadParser()
    for number in range(3000):
        parser.parse(lines(LINE, b"Host: h%d.example" % number, b"X-%d: y" % number), {})
    assert len(parser._hosts) <= 256
    assert len(parser._keys) <= 1024
    with pytest.raises(HTTPError):
        parser.parse(lines(LINE, b"Host: a b"), {})


# -- fields


@pytest.mark.parametrize(
    ("field", "key", "value"),
    table(
        ("usual", b"Accept: text/html", "HTTP_ACCEPT", "text/html"),
        ("lower case", b"accept-language: en", "HTTP_ACCEPT_LANGUAGE", "en"),
        ("no blank", b"Accept:a", "HTTP_ACCEPT", "a"),
        ("blanks and tabs around", b"Accept: \t a \t ", "HTTP_ACCEPT", "a"),
        ("blanks and tabs inside", b"Accept: a \t b", "HTTP_ACCEPT", "a \t b"),
        ("empty", b"Accept:", "HTTP_ACCEPT", ""),
        ("only blanks", b"Accept: \t", "HTTP_ACCEPT", ""),
        ("colons in the value", b"Referer: http://a:1/", "HTTP_REFERER", "http://a:1/"),
        ("bytes above ASCII are latin-1", b"X-Name: caf\xc3\xa9 \xa0", "HTTP_X_NAME", "caf\xc3\xa9 \xa0"),
        ("every sign of a token", b"!#$%&'*+-.^`|~9: a", "HTTP_!#$%&'*+_.^`|~9", "a"),
        ("one letter", b"A: b", "HTTP_A", "b"),
        ("Content-Type has no prefix", b"Content-Type: a/b", "CONTENT_TYPE", "a/b"),
        ("Content-Length has no prefix", b"CONTENT-LENGTH: 5", "CONTENT_LENGTH", "5"),
        ("TE is no Transfer-Encoding", b"TE: trailers", "HTTP_TE", "trailers"),
        ("Script-Name is no SCRIPT_NAME", b"Script-Name: /x", "HTTP_SCRIPT_NAME", "/x"),
        ("a name of CGI is no such variable", b"HTTP-Host: evil", "HTTP_HTTP_HOST", "evil"),
    ),
)
def test_field_becomes_a_variable(field: bytes, key: str, value: str) -> None:
    environ = parse(LINE, HOST, field).environ
    assert environ[key] == value
    assert environ["HTTP_HOST"] == "example.org"


@pytest.mark.parametrize(
    "field",
    table(
        ("no colon", b"Accept"),
        ("no name", b": a"),
        ("blank before the colon", b"Accept : a"),
        ("tab before the colon", b"Accept\t: a"),
        ("blank in the name", b"Acc ept: a"),
        ("folded value", b"Accept: a\r\n b"),
        ("folded value with a tab", b"Accept: a\r\n\tb"),
        ("folded empty line", b"Accept: a\r\n "),
        ("value on the next line", b"Accept:\r\n a"),
        ("NUL in the value", b"Accept: a\x00b"),
        ("NUL in the name", b"Acc\x00ept: a"),
        ("bell", b"Accept: a\x07"),
        ("vertical tab", b"Accept: a\x0bb"),
        ("form feed before the value", b"Accept:\x0ca"),
        ("escape", b"Accept: \x1b[31m"),
        ("DEL", b"Accept: a\x7f"),
        ("bare LF", b"Accept: a\nX: y"),
        ("bare CR", b"Accept: a\rX: y"),
        ("two CRs", b"Accept: a\r"),
        ("LF CR", b"Accept: a\n\rX: y"),
        ("name beyond ASCII", "Accépt: a".encode()),
        ("name in parentheses", b"(Accept): a"),
        ("name with a slash", b"Acc/ept: a"),
        ("quoted name", b'"Accept": a'),
        ("name in brackets", b"[Accept]: a"),
        ("second request line", b"GET /evil HTTP/1.1"),
    ),
)
def test_malformed_field_is_refused_wherever_it_stands(field: bytes) -> None:
    assert status_of(lines(LINE, HOST, field)) == 400
    assert status_of(lines(LINE, field, HOST)) == 400
    assert status_of(lines(LINE, HOST, field, b"X-Last: z")) == 400


def test_first_field_may_not_be_folded_into_the_request_line() -> None:
    assert status_of(lines(LINE, b" Host: example.org")) == 400
    assert status_of(lines(LINE, b"\tX: y", HOST)) == 400


@pytest.mark.parametrize(
    "name", ["X_Forwarded_For", "X-Forwarded_For", "Content_Length", "Transfer_Encoding", "_", "Host_"]
)
def test_name_with_an_underscore_is_dropped(name: str) -> None:
    environ = parse(LINE, HOST, b"X-Forwarded-For: 192.0.2.1", f"{name}: 6.6.6.6".encode()).environ
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"
    assert "6.6.6.6" not in environ.values()


@pytest.mark.parametrize("name", ["Proxy", "proxy", "PROXY"])
def test_proxy_is_dropped(name: str) -> None:
    assert "HTTP_PROXY" not in parse(LINE, HOST, f"{name}: http://evil.example".encode()).environ


def test_dropped_name_is_still_dropped_the_second_time() -> None:
    parser = HeadParser()
    for _ in range(2):
        assert "HTTP_X_Y" not in parser.parse(lines(LINE, HOST, b"X_Y: z", b"X_Y: z"), {}).environ


def test_repeated_fields_are_joined_in_order() -> None:
    environ = parse(LINE, HOST, b"Accept: a", b"Cookie: x=1", b"accept: b", b"Accept:", b"cookie: y=2").environ
    assert environ["HTTP_ACCEPT"] == "a, b, "
    assert environ["HTTP_COOKIE"] == "x=1; y=2"


@pytest.mark.parametrize("field", [b"Content-Length: 3", b"Content-Type: a/b", b"Authorization: Basic x"])
def test_field_that_can_have_one_value_only_is_refused_twice(field: bytes) -> None:
    assert status_of(lines(LINE, HOST, field, field)) == 400


def test_base_is_copied_and_its_variables_stay() -> None:
    base = {"SCRIPT_NAME": "", "SERVER_NAME": "here", "wsgi.version": (1, 0)}
    environ = parse(LINE, HOST, b"Server-Name: there", base=base).environ
    assert environ.items() >= base.items()
    assert len(base) == 3


def test_environ_of_a_small_request_is_complete() -> None:
    request = parse(b"POST /a%20b?c=d HTTP/1.1", HOST, b"Content-Type: text/plain", b"Content-Length: 0")
    assert request.environ == {
        "REQUEST_METHOD": "POST",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c=d",
        "RAW_URI": "/a%20b?c=d",
        "REQUEST_URI": "/a%20b?c=d",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "example.org",
    }
    assert all(type(value) is str for value in request.environ.values())


# -- framing


@pytest.mark.parametrize(
    ("fields", "length"),
    table(
        ("nothing", [], 0),
        ("zero", [b"Content-Length: 0"], 0),
        ("number", [b"Content-Length: 42"], 42),
        ("leading zeros", [b"Content-Length: 0042"], 42),
        ("blanks around", [b"Content-Length: \t42 \t"], 42),
        ("chunked", [b"Transfer-Encoding: chunked"], CHUNKED),
        ("chunked in capitals", [b"TRANSFER-ENCODING:CHUNKED "], CHUNKED),
        ("largest", [b"Content-Length: " + b"9" * 18], 10**18 - 1),
        ("upgrade to h2c", [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Content-Length: 42"], 42),
        ("upgrade of chunks", [b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"], CHUNKED),
        ("upgrade of nothing", [b"Connection: Upgrade", b"Upgrade: websocket"], 0),
    ),
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"DELETE"])
def test_body_length(method: bytes, fields: list[bytes], length: int) -> None:
    request = parse(method + b" / HTTP/1.1", HOST, *fields)
    assert request.content_length == length
    assert request.keep_alive
    assert "HTTP_TRANSFER_ENCODING" not in request.environ


@pytest.mark.parametrize(
    ("fields", "status"),
    table(
        ("CL.TE", [b"Content-Length: 5", b"Transfer-Encoding: chunked"], 400),
        ("TE.CL", [b"Transfer-Encoding: chunked", b"Content-Length: 5"], 400),
        ("TE with CL of 0", [b"Transfer-Encoding: chunked", b"Content-Length: 0"], 400),
        ("CL.CL", [b"Content-Length: 5", b"Content-Length: 6"], 400),
        ("CL twice the same", [b"Content-Length: 5", b"content-length: 5"], 400),
        ("CL list", [b"Content-Length: 5, 5"], 400),
        ("CL with plus", [b"Content-Length: +5"], 400),
        ("CL with minus", [b"Content-Length: -5"], 400),
        ("CL empty", [b"Content-Length:"], 400),
        ("CL hexadecimal", [b"Content-Length: 0x5"], 400),
        ("CL fraction", [b"Content-Length: 5.0"], 400),
        ("CL exponent", [b"Content-Length: 1e1"], 400),
        ("CL underscore", [b"Content-Length: 1_0"], 400),
        ("CL of two words", [b"Content-Length: 5 5"], 400),
        ("CL superscript", [b"Content-Length: \xb2"], 400),
        ("CL quoted", [b'Content-Length: "5"'], 400),
        ("CL beyond 64 bits", [b"Content-Length: 18446744073709551621"], 400),
        ("CL of 19 digits", [b"Content-Length: " + b"0" * 18 + b"5"], 400),
        ("CL with NUL", [b"Content-Length: 5\x00"], 400),
        ("CL with vertical tab", [b"Content-Length: \x0b5"], 400),
        ("CL with blank before the colon", [b"Content-Length : 5"], 400),
        ("TE with blank before the colon", [b"Transfer-Encoding : chunked"], 400),
        ("TE behind a tab", [b"Transfer-Encoding\t: chunked"], 400),
        ("TE with vertical tab", [b"Transfer-Encoding: \x0bchunked"], 400),
        ("TE with form feed", [b"Transfer-Encoding: chunked\x0c"], 400),
        ("TE folded", [b"Transfer-Encoding:\r\n chunked"], 400),
        ("TE after a bare LF", [b"X: y\nTransfer-Encoding: chunked"], 400),
        ("TE after a bare CR", [b"X: y\rTransfer-Encoding: chunked"], 400),
        ("TE empty", [b"Transfer-Encoding:"], 400),
        ("TE twice", [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
        ("TE.TE", [b"Transfer-Encoding: chunked", b"Transfer-encoding: cow"], 400),
        ("TE cow, chunked", [b"Transfer-Encoding: cow, chunked"], 501),
        ("TE gzip, then chunked in a second field", [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"], 501),
        ("TE chunked, gzip", [b"Transfer-Encoding: chunked, gzip"], 400),
        ("TE chunked, chunked", [b"Transfer-Encoding: chunked, chunked"], 400),
        ("TE identity", [b"Transfer-Encoding: identity"], 400),
        ("TE identity, chunked", [b"Transfer-Encoding: identity, chunked"], 400),
        ("TE chunked, identity", [b"Transfer-Encoding: chunked, identity"], 400),
        ("TE gzip", [b"Transfer-Encoding: gzip"], 400),
        ("TE xchunked", [b"Transfer-Encoding: xchunked"], 400),
        ("TE quoted", [b'Transfer-Encoding: "chunked"'], 400),
        ("TE with a parameter", [b"Transfer-Encoding: chunked;q=1"], 400),
        ("TE with an empty member", [b"Transfer-Encoding: ,chunked"], 400),
        ("TE with an empty last member", [b"Transfer-Encoding: chunked,"], 400),
        ("TE of two words", [b"Transfer-Encoding: chunked chunked"], 400),
        ("TE with a letter beyond ASCII", [b"Transfer-Encoding: chun\xe9ked"], 400),
        ("TE bracketed", [b"Transfer-Encoding: [chunked]"], 400),
        ("TE and CL of an upgrade", [b"Connection: Upgrade", b"Upgrade: a", b"Content-Length: 5", b"Transfer-Encoding: chunked"], 400),
        ("TE gzip of an upgrade", [b"Connection: Upgrade", b"Upgrade: a", b"Transfer-Encoding: gzip"], 400),
        ("CL twice of an upgrade", [b"Connection: Upgrade", b"Upgrade: a", b"Content-Length: 5", b"Content-Length: 5"], 400),
    ),
)  # fmt: skip
def test_ambiguous_body_length_is_refused(fields: list[bytes], status: int) -> None:
    assert status_of(lines(b"POST / HTTP/1.1", HOST, *fields)) == status
    assert status_of(lines(b"GET / HTTP/1.1", *fields, HOST)) == status


def test_transfer_encoding_is_unknown_to_http10() -> None:
    assert status_of(lines(b"POST / HTTP/1.0", HOST, b"Transfer-Encoding: chunked")) == 400
    assert status_of(lines(b"POST / HTTP/1.0", HOST, b"Connection: keep-alive", b"Transfer-Encoding: gzip")) == 400


@pytest.mark.parametrize(
    ("expect", "length", "version", "expected"),
    table(
        ("asked", b"100-continue", b"5", b"HTTP/1.1", True),
        ("in capitals", b"100-Continue", b"5", b"HTTP/1.1", True),
        ("twice", b"100-continue, 100-continue", b"5", b"HTTP/1.1", True),
        ("for nothing", b"100-continue", b"0", b"HTTP/1.1", False),
        ("empty", b"", b"5", b"HTTP/1.1", False),
        ("of HTTP/1.0, to be ignored", b"100-continue", b"5", b"HTTP/1.0", False),
    ),
)
def test_continue_is_expected(expect: bytes, length: bytes, version: bytes, expected: bool) -> None:
    request = parse(b"POST / " + version, HOST, b"Expect: " + expect, b"Content-Length: " + length)
    assert request.expect_continue is expected


@pytest.mark.parametrize("expect", [b"200-ok", b"100-continue, other", b"100-continue=x"])
def test_other_expectations_cannot_be_met(expect: bytes) -> None:
    assert status_of(lines(LINE, HOST, b"Expect: " + expect)) == 417


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    table(
        ("1.1", b"HTTP/1.1", [], True),
        ("1.1 close", b"HTTP/1.1", [b"Connection: close"], False),
        ("1.1 Close", b"HTTP/1.1", [b"Connection: Close"], False),
        ("1.1 keep-alive", b"HTTP/1.1", [b"Connection: keep-alive"], True),
        ("1.1 keep-alive, upgrade", b"HTTP/1.1", [b"Connection: keep-alive, Upgrade"], True),
        ("1.1 list with close", b"HTTP/1.1", [b"Connection: TE,\tclose"], False),
        ("1.1 both", b"HTTP/1.1", [b"Connection: keep-alive, close"], False),
        ("1.1 close in a second field", b"HTTP/1.1", [b"Connection: keep-alive", b"Connection: close"], False),
        ("1.1 a name that has close in it", b"HTTP/1.1", [b"Connection: x-close"], True),
        ("1.1 empty", b"HTTP/1.1", [b"Connection:"], True),
        ("1.0", b"HTTP/1.0", [], False),
        ("1.0 keep-alive", b"HTTP/1.0", [b"Connection: keep-alive"], True),
        ("1.0 Keep-Alive", b"HTTP/1.0", [b"Connection: Keep-Alive"], True),
        ("1.0 both", b"HTTP/1.0", [b"Connection: keep-alive, close"], False),
        ("1.0 upgrade", b"HTTP/1.0", [b"Connection: upgrade"], False),
    ),
)
def test_keep_alive(version: bytes, fields: list[bytes], keep_alive: bool) -> None:
    request = parse(b"GET / " + version, HOST, *fields)
    assert request.keep_alive is keep_alive
    assert request.http10 is (version == b"HTTP/1.0")
    assert request.environ["SERVER_PROTOCOL"] == version.decode()


@pytest.mark.parametrize(
    "first",
    table(
        ("HTTP/1.0", lines(b"GET / HTTP/1.0")),
        ("close", lines(LINE, HOST, b"Connection: close")),
        ("body to come", lines(b"POST / HTTP/1.1", HOST, b"Content-Length: 1000")),
        ("chunks to come", lines(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked")),
        ("upgrade", lines(LINE, HOST, b"Connection: Upgrade", b"Upgrade: h2c")),
        ("refused", lines(LINE, HOST, b"A : b")),
    ),
)
def test_one_head_leaves_nothing_behind_for_the_next(first: bytes) -> None:
    parser = HeadParser()
    with contextlib.suppress(HTTPError):
        parser.parse(first, {})
    assert parser.parse(lines(LINE, HOST), {}).environ["HTTP_HOST"] == "example.org"
    with pytest.raises(HTTPError):
        parser.parse(lines(LINE, HOST, b"no field"), {})


# -- limits


def test_head_may_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    head = lines(LINE, HOST, b"X: " + b"y" * 100)
    assert HeadParser(Limits(head_bytes=len(head))).parse(head, {}).method == "GET"
    assert status_of(head, Limits(head_bytes=len(head) - 1)) == 431


def test_head_may_have_as_many_fields_as_the_limit_and_no_more() -> None:
    head = lines(LINE, HOST, *[b"X: y"] * 9)
    assert HeadParser(Limits(head_fields=10)).parse(head, {}).method == "GET"
    assert status_of(head, Limits(head_fields=9)) == 431


def test_target_may_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    head = lines(b"GET /" + b"a" * 99 + b" HTTP/1.1", HOST)
    assert HeadParser(Limits(target_bytes=100)).parse(head, {}).method == "GET"
    assert status_of(head, Limits(target_bytes=99)) == 414


def test_whatever_goes_wrong_first_decides_the_status() -> None:
    limits = Limits(head_bytes=300, target_bytes=100)
    assert status_of(lines(b"GET /\x00" + b"a" * 400 + b" HTTP/2.0", HOST), limits) == 400
    assert status_of(lines(b"GET /" + b"a" * 101 + b"\x00 HTTP/2.0", HOST), limits) == 414
    assert status_of(lines(b"GET / HTTP/2.0", b"X: " + b"a" * 400), limits) == 505
    assert status_of(lines(LINE, b"X: " + b"a" * 300 + b"\nY"), limits) == 431


# -- heads that have not come to their end


@pytest.mark.parametrize(
    "start",
    [
        b"", b"\r", b"G", b"GET", b"GET ", b"GET /", b"GET / ", b"GET / HT", b"GET / HTTP/1.", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost", b"GET / HTTP/1.1\r\nHost: a\r", b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"brew", b"M-SEARCH * HTTP", b"PRI * HTTP/2.0",
    ],
)  # fmt: skip
def test_good_beginning_is_waited_for(start: bytes) -> None:
    HeadParser().check_start(start)
    HeadParser().check_start(bytearray(start))


@pytest.mark.parametrize(
    ("start", "status"),
    table(
        ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        ("SMTP", b"EHLO example.org\r\n", 400),
        ("Redis", b"*1\r\n$4\r\nPING\r\n", 400),
        ("LF", b"\n", 400),
        ("CR and something", b"\rG", 400),
        ("NUL", b"\x00", 400),
        ("JSON", b'{"a": 1}', 400),
        ("bare LF after the request line", b"GET / HTTP/1.1\n", 400),
        ("bare LF after a field", b"GET / HTTP/1.1\r\nHost: a\n", 400),
        ("bare CR after a field", b"GET / HTTP/1.1\r\nHost: a\rX", 400),
        ("line of one word", b"GET\r\n", 400),
        ("HTTP/0.9", b"GET /\r\n", 400),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n", 505),
        ("method without end", b"A" * 257, 501),
        ("target without end", b"GET /" + b"a" * 8190, 414),
        ("field without end", b"GET / HTTP/1.1\r\nX: " + b"a" * 32768, 431),
        ("fields without end", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 6000, 431),
    ),
)
def test_hopeless_beginning_is_refused_before_its_end(start: bytes, status: int) -> None:
    for data in (start, bytearray(start)):
        with pytest.raises(HTTPError) as caught:
            HeadParser().check_start(data)
        assert caught.value.status == status


class Counted(bytearray):
    """Bytes that count how many of them are looked at or copied."""

    work = 0

    def count(self, *arguments: Any) -> int:
        self.work += arguments[2] - arguments[1]
        return super().count(*arguments)

    def find(self, *arguments: Any) -> int:
        found = super().find(*arguments)
        self.work += (found if found >= 0 else arguments[2]) - arguments[1]
        return found

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.work += 1 if isinstance(found, int) else len(found)
        return found


class CountedPattern:
    """A pattern that counts the bytes it is let loose on."""

    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern

    def search(self, data: Counted, start: int, stop: int) -> Any:
        data.work += max(0, stop - start)
        return self.pattern.search(data, start, stop)


@pytest.mark.parametrize(
    ("start", "endless"),
    table(
        ("target", b"GET /", b"aaaa"),
        ("field", b"GET / HTTP/1.1\r\nX: ", b"aaaa"),
        ("fields", b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    ),
)
def test_head_sent_byte_by_byte_costs_no_more_a_byte_the_longer_it_gets(
    start: bytes, endless: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "_NOT_TOKEN", CountedPattern(http1._NOT_TOKEN))
    monkeypatch.setattr(http1, "_NOT_VISIBLE", CountedPattern(http1._NOT_VISIBLE))

    def work(repeats: int) -> int:
        data = Counted()
        checked = 0
        for byte in start + endless * repeats:
            data.append(byte)
            checked = HeadParser().check_start(data, checked)
        return data.work

    assert 0 < work(1600) <= 4.1 * work(400)


@given(st.binary(max_size=60) | st.sampled_from([b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b\r\n"]), st.data())
def test_checking_in_steps_finds_what_checking_at_once_finds(data: bytes, draw: st.DataObject) -> None:
    parser = HeadParser(Limits(head_bytes=40, target_bytes=16))
    data += draw.draw(st.binary(max_size=20))

    def verdict(cuts: list[int]) -> int | None:
        checked = 0
        for cut in [*cuts, len(data)]:
            try:
                checked = parser.check_start(data[:cut], checked)
            except HTTPError as error:
                return error.status
        return None

    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)))))
    assert verdict(cuts) == verdict([])
