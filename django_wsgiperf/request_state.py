"""`request.wsgiperf`: what the parts of django-wsgiperf and the project's own code tell each other of one request.

Every request has it, whatever middleware is in use, so that a view may always write to it; it comes into being when it
is first asked for. What a part puts there is its own affair: it registers the attribute with `lazily`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import cached_property

NAME: Final = "wsgiperf"
RECORD: Final = "_wsgiperf_record"
"""Where the middleware of request timing leaves the record on the request."""

_makers: Final[dict[str, Callable[[RequestState], Any]]] = {}
"""Name of an attribute -> what makes it. Filled when modules are imported."""


class RequestState:
    """Of one request. Attributes that a part has registered come into being when they are asked for."""

    route: str = ""
    """Set it to have the request measured under another name than its route's, such as `graphql:Basket`."""
    record: Any = None
    """The request's metrics.record.Record, while and after it is measured."""

    @property
    def request_id(self) -> str:
        """X-Request-ID; empty where requests are not measured."""
        return "" if self.record is None else str(self.record.request_id)

    @property
    def trace_id(self) -> str:
        """Of a well-formed traceparent header; empty without."""
        return "" if self.record is None else str(self.record.trace_id)

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there yet.
        maker = _makers.get(name)
        if maker is None:
            raise AttributeError(f"request.wsgiperf has no attribute {name!r}")
        made = self.__dict__[name] = maker(self)
        return made


def lazily(name: str, maker: Callable[[RequestState], Any]) -> None:
    """Have `request.wsgiperf.<name>` made by `maker` for each request that asks for it."""
    _makers[name] = maker


def state_of(request: HttpRequest) -> RequestState:
    """The request's state, made if need be."""
    attributes = request.__dict__
    state: RequestState | None = attributes.get(NAME)
    if state is None:
        state = attributes[NAME] = RequestState()
        state.record = attributes.get(RECORD)
    return state


def install() -> None:
    """Give every request its `wsgiperf`. Called when the app is ready."""
    if NAME not in vars(HttpRequest):
        attribute = cached_property(state_of)
        attribute.__set_name__(HttpRequest, NAME)
        setattr(HttpRequest, NAME, attribute)
