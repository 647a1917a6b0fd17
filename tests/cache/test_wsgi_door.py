"""The door before Django as PEP 3333 wants it: any application, any way to answer, and nothing changed on the way."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse

from django_wsgiperf.cache.decorators import never_cache_response
from django_wsgiperf.cache.marking import Marked
from django_wsgiperf.cache.wsgi import CachedApplication
from django_wsgiperf.wsgi import is_wrapped, wrap

from . import doors
from .doors import Site, environ, page, pages

HEADERS = [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")]
StartResponse = Callable[..., Callable[[bytes], Any]]


@pytest.fixture
def site() -> Iterator[Site]:
    with doors.site("wsgi", {"MAX_BODY_BYTES": 100}) as made:
        yield made


class Client:
    """Calls an application as a server does, and keeps everything."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.heads: list[tuple[str, list[tuple[str, str]]]] = []
        self.written: list[bytes] = []
        self.body = b""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        if exc_info is not None and (self.written or self.body):
            raise exc_info[1]
        self.heads.append((status, headers))
        return self.written.append

    def ask(self, target: str = "/", method: str = "GET", **more: Any) -> Client:
        self.heads, self.written, self.body = [], [], b""
        result = self.application(environ(target, method) | more, self.start_response)
        try:
            for piece in result:
                assert self.heads, "a body before its head"
                self.body += piece
        finally:
            if hasattr(result, "close"):
                result.close()
        self.body = b"".join(self.written) + self.body
        return self

    @property
    def cache(self) -> str:
        return dict(self.heads[-1][1])["Cache-Status"].removeprefix("wsgiperf; ")


def behind(site: Site, application: Callable[[dict[str, Any], StartResponse], Iterable[bytes]]) -> Client:
    return Client(CachedApplication(application, site.engine))


class Body:
    """An iterable that has to be closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = iter(pieces)
        self.closed = 0
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece

    def close(self) -> None:
        self.closed += 1


def test_servers_validator_finds_nothing(site: Site) -> None:
    site.view("/", lambda request: page("text"))
    inner = validator(WSGIHandler())
    client = Client(validator(CachedApplication(inner, site.engine)))
    for method in ("GET", "GET", "HEAD", "POST"):
        assert client.ask(method=method).heads[0][0] == "200 OK"


def test_list_of_pieces_is_kept_as_one_body(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 Fine", list(HEADERS))
        return [b"a", b"", b"b"]

    client = behind(site, application)
    assert client.ask().body == b"ab"
    again = client.ask()
    assert (again.body, again.heads[0][0], again.cache) == (b"ab", "200 Fine", "hit")


def test_iterable_is_closed_whether_it_is_passed_on_or_not(site: Site) -> None:
    bodies: list[Body] = []

    def application(environ: dict[str, Any], start_response: StartResponse) -> Body:
        start_response("200 OK", [*HEADERS, ("Content-Length", "2"), ("ETag", '"1"')])
        bodies.append(Body(b"a", b"b"))
        return bodies[-1]

    client = behind(site, application)
    assert client.ask().body == b"ab"
    assert client.ask().cache == "hit"
    assert client.ask("/other", HTTP_IF_NONE_MATCH='"1"').heads[0][0] == "304 Not Modified"
    assert [body.closed for body in bodies] == [1, 1]


def test_stream_is_passed_on_piece_by_piece(site: Site) -> None:
    body = Body(b"a", b"b")

    def application(environ: dict[str, Any], start_response: StartResponse) -> Body:
        start_response("200 OK", list(HEADERS))
        return body

    result = CachedApplication(application, site.engine)(environ("/"), Client(None).start_response)
    assert body.taken == 0
    pieces = iter(result)
    assert (next(pieces), body.taken) == (b"a", 1)
    assert result is body


def test_file_is_left_to_the_server(site: Site) -> None:
    with open(__file__, "rb") as file:
        wrapper = FileWrapper(file)

        def application(environ: dict[str, Any], start_response: StartResponse) -> FileWrapper:
            start_response("200 OK", [*HEADERS, ("Content-Length", "10")])
            return wrapper

        assert CachedApplication(application, site.engine)(environ("/"), Client(None).start_response) is wrapper


def test_application_that_says_its_head_with_the_first_piece(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", list(HEADERS))
        yield b"a"
        yield b"b"

    client = behind(site, application)
    for _ in range(2):
        assert (client.ask().body, client.cache) == (b"ab", "fwd=uri-miss; detail=streaming")


def test_write_is_held_back_and_kept(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", list(HEADERS))
        write(b"a")
        write(b"b")
        return [b"c"]

    client = behind(site, application)
    assert client.ask().body == b"abc"
    assert (client.ask().body, client.cache) == (b"abc", "hit")


def test_write_beyond_the_limit_is_passed_on_at_once(site: Site) -> None:
    client: Client

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", list(HEADERS))
        write(b"x" * 60)
        assert client.written == []
        write(b"x" * 60)
        assert client.written == [b"x" * 60, b"x" * 60]
        write(b"y")
        return [b"z"]

    client = behind(site, application)
    assert client.ask().body == b"x" * 120 + b"yz"
    assert len(client.heads) == 1


def test_head_can_be_taken_back_by_an_error_until_it_is_sent(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", list(HEADERS))
        try:
            raise ValueError("after the head")
        except ValueError as error:
            start_response("500 Error", [("Content-Type", "text/plain")], (type(error), error, error.__traceback__))
        return [b"sorry"]

    client = behind(site, application)
    assert (client.ask().heads[0][0], client.body) == ("500 Error", b"sorry")


def test_what_was_written_before_an_error_is_not_sent_with_its_page(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", HEADERS)(b"half a page")
        try:
            raise ValueError
        except ValueError:
            start_response("500 Failed", [("Content-Length", "5")], sys.exc_info())
        return [b"error"]

    client = Client(CachedApplication(application, site.engine)).ask()
    assert (client.heads[0][0], client.body) == ("500 Failed", b"error")


def test_body_that_ends_in_an_exception_is_closed(site: Site) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise LookupError("no more")

        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*HEADERS, ("Content-Length", "8")])
        return Body()

    with pytest.raises(LookupError):
        Client(CachedApplication(application, site.engine)).ask()
    assert closed == [True]


def test_body_longer_than_it_says_is_not_read_to_its_end(site: Site) -> None:
    read = []

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*HEADERS, ("Content-Length", "8")])
        for number in range(50):
            read.append(number)
            yield b"x" * 40

    def begun(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        pieces = application(environ, start_response)
        return itertools.chain([next(pieces)], pieces)

    result = CachedApplication(begun, site.engine)(environ("/"), Client(None).start_response)
    assert len(read) == 3
    assert len(b"".join(result)) == 2000


def test_second_head_without_an_error_is_a_mistake(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", list(HEADERS))
        start_response("200 OK", list(HEADERS))
        return []

    with pytest.raises(AssertionError, match="second time"):
        behind(site, application).ask()


def test_exception_goes_to_the_server(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        raise KeyError("of the application")

    client = behind(site, application)
    for _ in range(2):
        with pytest.raises(KeyError, match="of the application"):
            client.ask()
    assert site.engine.flights.numbers().waiting == 0
    assert site.engine.making == {}


def test_body_shorter_than_it_says_is_passed_on_and_not_kept(site: Site) -> None:
    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [*HEADERS, ("Content-Length", "5")])
        return [b"abc"]

    client = behind(site, application)
    for _ in range(2):
        assert (client.ask().body, client.cache) == (b"abc", "fwd=uri-miss; detail=length-mismatch")


def test_list_of_headers_is_the_servers_to_change(site: Site) -> None:
    site.view("/", lambda request: page("text"))
    client = Client(site.application)
    client.ask()
    first = list(client.ask().heads[0][1])
    client.heads[0][1].clear()
    assert client.ask().heads[0][1] == first


def test_the_application_sees_the_clients_conditions_when_it_is_left_to_it(site: Site) -> None:
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        seen.append((environ["REQUEST_METHOD"], environ.get("HTTP_IF_NONE_MATCH")))
        start_response("200 OK", [("Cache-Control", "private")])
        return [b""]

    client = behind(site, application)
    client.ask(HTTP_IF_NONE_MATCH='"1"')
    # It is known now that such answers are nobody else's.
    client.ask(HTTP_IF_NONE_MATCH='"1"')
    client.ask(method="HEAD", HTTP_IF_NONE_MATCH='"1"')
    client.ask(method="PUT", HTTP_IF_NONE_MATCH='"1"')
    assert seen == [("GET", None), ("GET", '"1"'), ("HEAD", '"1"'), ("PUT", '"1"')]


def test_doors_within_doors_look_once(site: Site) -> None:
    site.view("/", lambda request: page("text"))
    inner = CachedApplication(WSGIHandler(), site.engine)
    client = Client(CachedApplication(inner, site.engine))
    assert client.ask().cache == "fwd=uri-miss; stored"
    assert site.engine.counters.misses == 1
    assert client.ask().cache == "hit"
    assert is_wrapped(inner)
    assert wrap(inner) is inner


def test_middleware_behind_the_other_door_does_nothing() -> None:
    with doors.site("wsgi", MIDDLEWARE=["django_wsgiperf.middleware.ResponseCacheMiddleware"]) as site:
        site.view("/", lambda request: page("text"))
        assert site.get("/").cache == "fwd=uri-miss; stored"
        assert site.engine.counters.misses == 1


def test_request_interrupted_by_the_server_leaves_nothing_behind(site: Site) -> None:
    class Interrupted(BaseException):
        pass

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        raise Interrupted

    client = behind(site, application)
    with pytest.raises(Interrupted):
        client.ask()
    site.view("/", lambda request: page("text"))
    assert site.get("/").cache == "fwd=uri-miss; stored"


def test_mounted_below_a_path(site: Site) -> None:
    site.view("/books/", lambda request: page(request.path))
    client = Client(site.application)
    assert client.ask("/books/", SCRIPT_NAME="/shop").body == b"/shop/books/"
    assert client.ask("/books/", SCRIPT_NAME="/shop").cache == "hit"
    assert client.ask("/books/").body == b"/books/"


def test_what_the_request_tells_is_known_when_somebody_has_closed_the_response(site: Site) -> None:
    """As a WSGI application does that reads the body as a whole."""
    django = WSGIHandler()
    left: list[Any] = []

    def reading(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        result: Any = django(environ, start_response)
        body = b"".join(result)
        result.close()
        del result
        left.append(weakref.ref(pages.seen.pop("/")[-1]))
        gc.collect()
        return [body]

    site.application = CachedApplication(reading, site.engine)
    site.view("/", never_cache_response(lambda request: page()))
    assert [site.get("/").cache for _ in range(2)] == ["fwd=uri-miss; detail=never"] * 2
    assert [request() for request in left] == [None, None], "it is let go of at once"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_requests_can_be_pickled_and_copied(site: Site, protocol: int) -> None:
    made: list[HttpRequest] = []

    def view(request: Any) -> HttpResponse:
        # Without what Django 5.2 cannot pickle.
        request.environ = request.META = {"PATH_INFO": "/"}
        request.resolver_match = None
        made.extend([request, pickle.loads(pickle.dumps(request, protocol)), copy.deepcopy(request)])
        return page("text")

    site.view("/", view)
    assert site.get("/").text == "text"
    request, unpickled, copied = made
    assert isinstance(request, Marked)
    assert type(unpickled) is type(copied) is WSGIRequest
    assert unpickled.path == copied.path == "/"
