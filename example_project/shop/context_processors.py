"""What every page's frame needs: the shelves for its navigation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from .shelves import shelves


def shop(request: HttpRequest) -> dict[str, Any]:
    # The function, not its result: the admin's pages pay nothing for what they do not show.
    return {"shelves": shelves}
