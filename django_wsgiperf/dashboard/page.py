"""One request for a screen: who asks, what was chosen, and the addresses of other screens on the same admin site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_wsgiperf.metrics.results import PERIODS

from .state import REFRESH_S, State

PREFIX: Final = "django_wsgiperf_dashboard"
MANAGE: Final = "django_wsgiperf.manage_dashboard"
VIEW: Final = "django_wsgiperf.view_dashboard"

PERIOD_LABELS: Final = {
    "15m": _("15 minutes"),
    "1h": _("1 hour"),
    "6h": _("6 hours"),
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
}


@dataclass(frozen=True, slots=True)
class Screen:
    """`name` names its address and its template; `build` gives the template's context."""

    name: str
    path: str
    title: str | Promise
    build: Callable[[Page], dict[str, Any]]
    own: tuple[str, ...] = ()
    in_menu: bool = True
    of_period: bool = True
    refreshes: bool = True
    parent: str = ""

    @property
    def url_name(self) -> str:
        return f"{PREFIX}_{self.name}"


@dataclass(frozen=True, slots=True)
class Page:
    """A screen as it is asked for."""

    request: HttpRequest
    site_name: str
    screen: Screen
    state: State

    def url(self, name: str, **parameters: str) -> str:
        """The address of a screen on this admin site, with the choices of all screens."""
        address = reverse(f"admin:{PREFIX}_{name}", current_app=self.site_name)
        return address + self.state.query(parameters, keep_own=False)

    def here(self, **changes: str) -> str:
        """The address of this screen with some choices changed."""
        address = reverse(f"admin:{PREFIX}_{self.screen.name}", current_app=self.site_name)
        return address + self.state.query(changes)

    @property
    def is_fragment(self) -> bool:
        """Whether only the screen itself is asked for, by a refresh."""
        return "fragment" in self.request.GET

    @property
    def has_pictures(self) -> bool:
        """Whether charts are wanted as pictures: not where the script has replaced them already."""
        return not self.is_fragment or "pictures" in self.request.GET

    @property
    def may_manage(self) -> bool:
        return bool(self.request.user.has_perm(MANAGE))

    @property
    def fragment_url(self) -> str:
        return self.here(fragment="1")

    @property
    def own_url(self) -> str:
        return self.here()

    def other_choices(self) -> dict[str, str]:
        """What a form that chooses the host carries along."""
        chosen = {**self.state.choices(), **self.state.own}
        chosen.pop("host", None)
        return chosen

    def periods(self) -> list[tuple[str, str | Promise, str, bool]]:
        """Name, label, address, and whether it is the present one."""
        return [(name, PERIOD_LABELS[name], self.here(period=name), name == self.state.period) for name in PERIODS]

    def refreshes(self) -> list[tuple[int, str, bool]]:
        """Seconds, address, and whether it is the present one."""
        return [(seconds, self.here(refresh=str(seconds)), seconds == self.state.refresh_s) for seconds in REFRESH_S]
