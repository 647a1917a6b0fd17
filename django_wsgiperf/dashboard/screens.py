"""The table of screens: their addresses, titles, what they understand of the query string, and who builds them."""

from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext_lazy

from . import views
from .page import Page, Screen


def not_found(page: Page, context: dict[str, Any]) -> bool:
    """Whether what the address names is not there (any more)."""
    return (page.screen.name == "route" and context.get("detail", 1) is None) or (
        page.screen.name == "sample" and context.get("sample", 1) is None
    )


SCREENS: Final = (
    Screen("changelist", "", gettext_lazy("Overview"), views.build_overview),
    Screen("routes", "routes/", gettext_lazy("Routes"), views.build_routes, own=("sort", "q")),
    Screen(
        "route",
        "routes/detail/",
        gettext_lazy("Route"),
        views.build_route,
        own=("route",),
        in_menu=False,
        parent="routes",
    ),
    Screen("samples", "samples/", gettext_lazy("Slow requests"), views.build_samples, own=("route",)),
    Screen(
        "sample",
        "samples/detail/",
        gettext_lazy("Slow request"),
        views.build_sample,
        own=("id",),
        in_menu=False,
        of_period=False,
        refreshes=False,
        parent="samples",
    ),
    Screen("live", "live/", gettext_lazy("Live"), views.build_live, of_period=False),
    Screen("databases", "databases/", gettext_lazy("Databases"), views.build_databases, of_period=False),
    Screen("cache", "cache/", gettext_lazy("Response cache"), views.build_cache, own=("explain",)),
    Screen(
        "settings",
        "settings/",
        gettext_lazy("Settings"),
        views.build_settings,
        own=("changed",),
        of_period=False,
        refreshes=False,
    ),
)
BY_NAME: Final = {screen.name: screen for screen in SCREENS}
