"""wsgiref.validate around an application, with lists and files left as they are.

The validator wraps what an application returns, and the server would never see a list, or a file of its own wrapper,
for which it has shorter ways. Here those are checked and passed on; all else stays in the validator's hands.
"""

from __future__ import annotations

from typing import Any
from wsgiref.validate import assert_, validator

from django_wsgiperf.server.files import FileWrapper

_PLAIN = (type(iter([])), type(iter(())))


def validated(application: Any) -> Any:
    """`application`, whose every breach of PEP 3333, and every one of its server's, is an AssertionError."""

    def checked(environ: Any, start_response: Any) -> Any:
        results: list[Any] = []
        started: list[bool] = []

        def keep(environ: Any, start_response: Any) -> Any:
            results.append(application(environ, start_response))
            return results[0]

        def start(*arguments: Any) -> Any:
            started.append(True)
            return start_response(*arguments)

        guarded = validator(keep)(environ, start)
        result = results[0]
        if not isinstance(result, FileWrapper):
            if type(iter(result)) not in _PLAIN:
                return guarded
            assert_(started, "The application returns, and start_response() has not been called")
            for piece in result:
                assert_(type(piece) is bytes, f"A body is made of bytes, not {type(piece)}")
        guarded.closed = True  # The server closes what it is given, and that is the application's own.
        return result

    return checked
