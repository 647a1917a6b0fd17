"""The performance pages in the admin: an entry in its index, addresses, and the permission to see them.

`Dashboard` has no table; this is its ModelAdmin without lists and forms. On an AdminSite of one's own:
`my_site.register(Dashboard, DashboardAdmin)`. What the pages show is in dashboard/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from django_wsgiperf.models import Dashboard

if TYPE_CHECKING:
    from django_wsgiperf.dashboard.actions import Action
    from django_wsgiperf.dashboard.page import Screen

    DashboardModelAdmin = admin.ModelAdmin[Dashboard]
else:
    DashboardModelAdmin = admin.ModelAdmin


@admin.register(Dashboard)
class DashboardAdmin(DashboardModelAdmin):
    """Shown to those who may `view_dashboard`; nobody adds, changes or deletes anything here."""

    def get_urls(self) -> list[URLPattern]:
        from django_wsgiperf.dashboard.actions import ACTIONS
        from django_wsgiperf.dashboard.page import PREFIX
        from django_wsgiperf.dashboard.screens import SCREENS

        view = self.admin_site.admin_view
        screens = [path(screen.path, view(self._show(screen)), name=screen.url_name) for screen in SCREENS]
        actions = [path(action.path, view(self._perform(action)), name=f"{PREFIX}_{action.name}") for action in ACTIONS]
        return screens + actions

    def _show(self, screen: Screen) -> Callable[[HttpRequest], HttpResponse]:
        from django_wsgiperf.dashboard import responses

        def show(request: HttpRequest) -> HttpResponse:
            return responses.show(self.admin_site, request, screen)

        return show

    def _perform(self, action: Action) -> Callable[[HttpRequest], HttpResponse]:
        from django_wsgiperf.dashboard import actions

        def perform(request: HttpRequest) -> HttpResponse:
            return actions.perform(self.admin_site, request, action)

        return perform

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("django_wsgiperf.view_dashboard"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
