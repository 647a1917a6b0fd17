"""Who may read the numbers: those with the token, and those who ask from the right address. Nobody else, by default.

For the server's own pages and for Django's views of the same. Knows no requests.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from .addresses import AddressList


class Access:
    """Of STATS_TOKEN and STATS_ALLOW."""

    def __init__(self, token: str, allowed: Iterable[str]) -> None:
        self._token = token.encode()
        self._allowed = AddressList(allowed)

    def allows(self, authorization: str, address: str) -> bool:
        """`authorization` is the header field's text; `address` is empty when it is not known for sure."""
        if self._token:
            scheme, _, token = authorization.partition(" ")
            # What no header can carry is no token, either.
            same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
            if same and scheme.lower() == "bearer":
                return True
        return address in self._allowed
