"""`request.wsgiperf`: what the parts of django-wsgiperf and the project's own code tell each other of one request.

The request timing and the response cache both use it, with or without the other; whoever comes first makes it. What a
part puts there is its own affair: it registers the attribute with `lazily`, and it is made when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest

_makers: Final[dict[str, Callable[[RequestState], Any]]] = {}
"""Name of an attribute -> what makes it. Filled when modules are imported."""


class RequestState:
    """Of one request. Attributes that a part has registered come into being when they are asked for."""

    route: str = ""
    """Set it to have the request measured under another name than its route's, such as `graphql:Basket`."""
    request_id: str = ""
    """X-Request-ID, where the middleware of request timing is in use."""
    trace_id: str = ""
    """Of a well-formed traceparent header."""
    record: Any = None
    """The request's metrics.record.Record, while and after it is measured."""

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
    state = request.__dict__.get("wsgiperf")
    if state is None:
        state = request.__dict__["wsgiperf"] = RequestState()
    return state
