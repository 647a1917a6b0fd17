"""The gateway against PEP 3333, over real sockets, most of it inside wsgiref.validate."""

from __future__ import annotations

import gzip
import io
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files import File
from django.core.files.uploadedfile import UploadedFile

from .conftest import Server, eventually

Start = Callable[..., Server]
TEXT = [("Content-Type", "text/plain")]


class Body:
    """An iterable that tells how often it was closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


def answering(body: Any, status: str = "200 OK", headers: Any = None) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, list(TEXT if headers is None else headers))
        return body() if callable(body) else body

    return app


def test_list_of_one_piece_has_its_length(serve_app: Start) -> None:
    response = serve_app(answering([b"hello"])).get()
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers["content-length"] == "5"
    assert response.headers["date"].endswith(" GMT")


def test_list_of_several_pieces_is_sent_as_one(serve_app: Start) -> None:
    response = serve_app(answering([b"a", b"", b"bc"])).get()
    assert (response.body, response.headers["content-length"]) == (b"abc", "3")


def test_empty_list_is_an_empty_body(serve_app: Start) -> None:
    response = serve_app(answering([])).get()
    assert (response.body, response.headers["content-length"]) == (b"", "0")


def test_generator_is_chunked(serve_app: Start) -> None:
    response = serve_app(answering(lambda: Body(b"one", b"", b"two"))).get()
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.body == b"onetwo"


def test_lazy_start_response(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("404 Not Found", list(TEXT))
        yield b"gone"

    response = serve_app(app).get()
    assert (response.status, response.body) == (404, b"gone")


def test_write_comes_before_the_iterable(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [*TEXT, ("Content-Length", "6")])
        write(b"abc")
        return [b"def"]

    assert serve_app(app).get().body == b"abcdef"


def test_exc_info_replaces_a_head_that_was_not_sent(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        import sys

        start_response("200 OK", list(TEXT))
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oops", list(TEXT), sys.exc_info())
        return [b"sorry"]

    response = serve_app(app).get()
    assert (response.status, response.reason, response.body) == (500, "Oops", b"sorry")


def test_second_start_response_is_an_error(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(TEXT))
        start_response("200 OK", list(TEXT))
        return [b""]

    assert serve_app(app, validate=False).get().status == 500


@pytest.mark.parametrize(
    ("method", "status", "error"),
    [
        ("GET", "200 OK", None),
        ("HEAD", "200 OK", None),
        ("GET", "304 Not Modified", None),
        ("GET", "200 OK", OSError("x")),
    ],
    ids=["whole", "head", "304", "error"],
)
def test_close_is_called_exactly_once(serve_app: Start, method: str, status: str, error: Exception | None) -> None:
    body = Body(b"abc", error=error)
    server = serve_app(answering(body, status, [] if "304" in status else TEXT))
    client = server.connect()
    client.send(f"{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    client.rest()
    eventually(lambda: body.closed == 1, "close()")


def test_exception_before_the_head_is_500(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise ValueError("broken")

    server = serve_app(app)
    assert server.get().status == 500
    assert server.get().status == 500, "the thread lives on"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_no_exception_ends_a_thread(serve_app: Start, error: BaseException) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise error

    server = serve_app(app, threads=1, validate=False)
    assert [server.get().status for _ in range(3)] == [500, 500, 500]


def test_exception_in_mid_body_does_not_end_it_properly(serve_app: Start) -> None:
    server = serve_app(answering(lambda: Body(b"first", error=ValueError("x"))))
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    data = client.rest()
    assert b"5\r\nfirst\r\n" in data
    assert not data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("length", ["2", "4"], ids=["too long", "too short"])
def test_wrong_content_length_closes_the_connection(serve_app: Start, length: str) -> None:
    server = serve_app(answering([b"abc"], headers=[*TEXT, ("Content-Length", length)]))
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    _, _, body = client.rest().partition(b"\r\n\r\n")
    assert body == b"abc"[: int(length)]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", [("X-A", "b\r\nSet-Cookie: c=d")]),
        ("200 OK", [("X-A", "b\nc")]),
        ("200 OK", [("X-A", "b\0c")]),
        ("200 OK", [("X-A\r\nX-B", "c")]),
        ("200 OK\r\nX-A: b", []),
        ("200 OK", [("X A", "b")]),
        ("200 OK", [("X-A", "\u20ac")]),
        ("200 OK", [("Transfer-Encoding", "chunked")]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
        ("200 OK", [("Content-Length", "+1")]),
        ("20 OK", []),
        ("100 Continue", []),
        ("200 OK", [("X-A", b"bytes")]),
        (200, []),
    ],
)
def test_head_that_cannot_be_sent_is_500(serve_app: Start, status: Any, headers: Any) -> None:
    response = serve_app(answering([b"x"], status, headers), validate=False).get()
    assert response.status == 500
    assert "set-cookie" not in response.headers
    assert "x-a" not in response.headers


def test_body_of_text_is_500(serve_app: Start) -> None:
    assert serve_app(answering(["text"]), validate=False).get().status == 500


def test_body_without_start_response_is_500(serve_app: Start) -> None:
    assert serve_app(lambda environ, start_response: [b"x"], validate=False).get().status == 500


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_status_without_body(serve_app: Start, status: str) -> None:
    server = serve_app(answering([b"never"], status, []))
    client = server.connect()
    assert client.get().body == b""
    assert client.get().body == b"", "the connection is still in step"


def test_head_has_the_length_of_get_and_no_body(serve_app: Start) -> None:
    client = serve_app(answering([b"hello"], headers=[*TEXT, ("Content-Length", "5")])).connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
    response = client.response("HEAD")
    assert (response.headers["content-length"], response.body) == ("5", b"")
    assert client.get().body == b"hello"


def test_http10_closes_or_keeps_alive_as_asked(serve_app: Start) -> None:
    server = serve_app(answering([b"x"]))
    client = server.connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.response().headers["connection"] == "keep-alive"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().body == b"x"
    assert client.closed()


def test_http10_stream_ends_with_the_connection(serve_app: Start) -> None:
    client = serve_app(answering(lambda: Body(b"a", b"b"))).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    head, _, body = client.rest().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"ab"


@pytest.mark.parametrize("size", [10, 300_000], ids=["memory", "file"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_input_reads_in_every_way(serve_app: Start, size: int, chunked: bool) -> None:
    sent = (b"line\n" * size)[:size]
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        seen["length"] = environ["CONTENT_LENGTH"]
        seen["first"] = body.readline()
        seen["second"] = body.read(3)
        seen["rest"] = b"".join(body)
        start_response("200 OK", list(TEXT))
        return [b"ok"]

    client = serve_app(app).connect()
    if chunked:
        framed = b"".join(b"%x\r\n%b\r\n" % (len(sent[i : i + 999]), sent[i : i + 999]) for i in range(0, size, 999))
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n")
    else:
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size + sent)
    assert client.response().body == b"ok"
    assert seen["length"] == str(size)
    assert (seen["first"], seen["second"]) == (b"line\n", b"lin")
    assert seen["first"] + seen["second"] + seen["rest"] == sent
    assert client.get("/next").status == 500, "no CONTENT_LENGTH: the application above fails, and in step"


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("declared", [True, False], ids=["length", "no length"])
def test_file_is_sent_by_the_kernel(serve_app: Start, tmp_path: Path, offset: int, declared: bool) -> None:
    content = bytes(range(256)) * 20_000
    path = tmp_path / "file"
    path.write_bytes(content)
    opened: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        file = path.open("rb")  # Closed by the server.
        file.seek(offset)
        opened.append(file)
        headers = [*TEXT, ("Content-Length", str(len(content) - offset))] if declared else TEXT
        start_response("200 OK", list(headers))
        return environ["wsgi.file_wrapper"](file, 8192)

    server = serve_app(app)
    client = server.connect()
    assert client.get().body == content[offset:]
    assert client.get().body == content[offset:]
    eventually(lambda: all(file.closed for file in opened), "the file is closed")


def test_file_that_is_no_file_is_read(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(TEXT))
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100_000), 8192)

    assert serve_app(app).get().body == b"x" * 100_000


def compressed(path: Path) -> Any:
    with gzip.open(path, "wb") as file:
        file.write(b"plain words" * 9)
    return gzip.open(path)


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - closed by the server
    file.write(b"plain words" * 9)
    file.seek(0)
    return file


def named(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed by the server
    file.write(b"plain words" * 9)
    file.seek(0)
    return file


def plain(path: Path) -> Any:
    path.write_bytes(b"plain words" * 9)
    return path.open("rb")


class Shouting(File):  # type: ignore[type-arg]
    """A file of Django's that gives other bytes than the file it reads."""

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.file.read(size)
        return data.upper()

    @property
    def size(self) -> int:
        return 99


@pytest.mark.parametrize(
    ("make", "by_kernel"),
    [
        (plain, True),
        (lambda path: plain(path).detach(), True),
        (named, True),
        (lambda path: File(plain(path)), True),
        (lambda path: UploadedFile(File(named(path))), True),
        (spooled, False),
        (compressed, False),
        (lambda path: File(compressed(path)), False),
        (lambda path: io.BufferedReader(compressed(path)), False),
        (lambda path: Shouting(plain(path)), False),
        (lambda path: io.BytesIO(b"plain words" * 9), False),
    ],
    ids=[
        "file",
        "raw",
        "named",
        "django",
        "uploaded",
        "spooled",
        "gzip",
        "django gzip",
        "buffered gzip",
        "own",
        "none",
    ],
)
def test_what_a_file_reads_is_what_is_sent(
    serve_app: Start, tmp_path: Path, make: Callable[[Path], Any], by_kernel: bool
) -> None:
    """gzip.open() has a fileno(), too; the bytes behind that are others."""
    made: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        made.append(make(tmp_path / f"file-{len(made)}"))
        start_response("200 OK", list(TEXT))
        return environ["wsgi.file_wrapper"](made[-1])

    client = serve_app(app).connect()
    expected = b"plain words" * 9
    for _ in range(2):
        response = client.get()
        assert response.body == (expected.upper() if isinstance(made[-1], Shouting) else expected)
        assert ("content-length" in response.headers) is by_kernel
    eventually(lambda: all(file.closed for file in made), "the files are closed")


def test_file_shorter_than_promised_closes_the_connection(serve_app: Start) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the server
        file.write(b"short")
        file.seek(0)
        start_response("200 OK", [*TEXT, ("Content-Length", "100")])
        return environ["wsgi.file_wrapper"](file)

    client = serve_app(app).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.rest().partition(b"\r\n\r\n")[2] == b""


def test_environ_says_what_pep_3333_asks(serve_app: Start) -> None:
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", list(TEXT))
        return [b""]

    server = serve_app(app)
    server.get("/caf%C3%A9?q=%20", "X-A: 1", "X-A: 2", "X_B: forged")
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/café"
    assert (seen["QUERY_STRING"], seen["SCRIPT_NAME"], seen["REMOTE_ADDR"]) == ("q=%20", "", "127.0.0.1")
    assert seen["HTTP_X_A"] == "1, 2"
    assert "HTTP_X_B" not in seen
    assert (seen["SERVER_PORT"], seen["wsgi.url_scheme"]) == (str(server.port), "http")
    assert seen["wsgiperf.queue_ns"] >= 0


def test_write_after_the_end_writes_into_no_other_response(serve_app: Start) -> None:
    kept: list[Any] = []

    class Closing(list[bytes]):
        def close(self) -> None:
            kept[0](b"in close")

    def app(environ: Any, start_response: Any) -> Any:
        for write in kept:
            write(b"late")
        kept.append(start_response("200 OK", list(TEXT)))
        kept[-1](b"x")
        return Closing()

    client = serve_app(app, validate=False).connect()
    assert [client.get().body for _ in range(3)] == [b"x"] * 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["returns", "raises"])
def test_child_that_a_request_forks_does_not_answer_as_well(serve_app: Start, how: str) -> None:
    codes: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        child = os.fork() if environ["PATH_INFO"] == "/fork" else -1
        if child == 0 and how == "raises":
            raise SystemExit(0)
        if child > 0:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        start_response("200 OK", TEXT)
        return [b"child" if child == 0 else b"parent"]

    server = serve_app(app)
    assert server.get("/fork").body == b"parent"
    assert codes == [70]
    assert {server.get().body for _ in range(10)} == {b"parent"}


def test_old_client_does_not_take_a_part_for_the_whole(serve_app: Start) -> None:
    """HTTP/1.0 knows no chunks: a body without a length ends with the connection, and a broken one with a reset."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield b"part"
        if environ["PATH_INFO"] == "/broken":
            raise ValueError("in mid-body")

    server = serve_app(app)
    whole = server.connect()
    whole.send(b"GET / HTTP/1.0\r\n\r\n")
    assert whole.rest().endswith(b"\r\n\r\npart")
    broken = server.connect()
    broken.send(b"GET /broken HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        broken.rest()


def test_close_that_fails_takes_nothing_of_the_whole_from_an_old_client(serve_app: Start) -> None:
    class Failing(Body):
        def close(self) -> None:
            write(b"too late")
            raise ValueError("in close()")

    def app(environ: Any, start_response: Any) -> Body:
        nonlocal write
        write = start_response("200 OK", list(TEXT))
        return Failing(*[b"x" * 100_000] * 30)

    write: Any = None
    client = serve_app(app, validate=False).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.rest().endswith(b"\r\n\r\n" + b"x" * 3_000_000)


def test_old_client_that_has_closed_its_sending_side_gets_the_whole(serve_app: Start) -> None:
    pieces = [b"x" * 100_000] * 80

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(TEXT))
        yield from pieces

    client = serve_app(app).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest().endswith(b"\r\n\r\n" + b"".join(pieces))


@pytest.mark.parametrize("declared", [True, False], ids=["with a length", "chunked"])
def test_buffer_that_is_filled_anew_for_each_piece_is_sent_as_it_was(serve_app: Start, declared: bool) -> None:
    """What readinto() suggests, and no bytes as PEP 3333 wants them."""
    size, count = 1_000_000, 12  # Far more than the kernel takes at once.

    def app(environ: Any, start_response: Any) -> Iterator[memoryview]:
        start_response("200 OK", [*TEXT, ("Content-Length", str(size * count))] if declared else list(TEXT))
        buffer = bytearray(size)
        for number in range(count):
            buffer[:] = bytes([number]) * size
            yield memoryview(buffer)

    server = serve_app(app, validate=False)
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    eventually(lambda: any(c.outbound is not None for c in list(server.reactor.connections.values())), "it is slower")
    assert client.response().body == b"".join(bytes([number]) * size for number in range(count))


def test_one_piece_may_be_any_buffer_of_bytes(serve_app: Start) -> None:
    assert serve_app(answering([bytearray(b"hello")]), validate=False).get().body == b"hello"
