"""From a screen to a response: permission, the whole page or the fragment that a refresh asks for, exports.

A fragment is rendered without AdminSite.each_context(), which lists every model that there is. Requests for these
pages are not among those that they show: their record is given a route of its own.
"""

from __future__ import annotations

import json
from typing import Any, Final

import django
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from django_wsgiperf.metrics import query
from django_wsgiperf.metrics.pipeline import OWN_ROUTE
from django_wsgiperf.request_state import state_of

from . import columns, screens
from .page import VIEW, Page, Screen
from .state import State

BREADCRUMBS: Final = f"django_wsgiperf/breadcrumbs_{'list' if django.VERSION >= (6, 1) else 'div'}.html"
FRAGMENT_HEADER: Final = "X-Wsgiperf-Fragment"


def keep_out_of_the_numbers(request: HttpRequest) -> None:
    """Name the route of this request as that of the pages themselves."""
    state = state_of(request)
    state.route = OWN_ROUTE
    if state.record is not None:
        # For the live view, which is asked before the request has ended.
        state.record.route = OWN_ROUTE


def open_page(site: AdminSite, request: HttpRequest, screen: Screen) -> Page:
    """The page that is asked for. Raises PermissionDenied."""
    keep_out_of_the_numbers(request)
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    request.current_app = site.name  # what reverse() and the url tag look for
    return Page(request, site.name, screen, State.read(request.GET, screen.own))


def show(site: AdminSite, request: HttpRequest, screen: Screen) -> HttpResponse:
    """The response for a screen."""
    page = open_page(site, request, screen)
    try:
        if screen.name == "routes" and request.GET.get("export") in ("csv", "json"):
            return export(page, request.GET["export"])
        context = screen.build(page)
        context["hosts"] = known_hosts(context, page)
        problem = ""
    except (DatabaseError, query.StoreError) as error:
        # Most often the tables are not there yet. What the page is for is to say so.
        context, problem = {"hosts": []}, str(error) or type(error).__name__
    context |= {
        "page": page,
        "screen": screen,
        "state": page.state,
        "problem": problem,
        "warning": problem or context.get("warning", ""),
        "title": screen.title,
        "menu": [each for each in screens.SCREENS if each.in_menu],
        "parent": screens.BY_NAME.get(screen.parent),
        "content_template": f"django_wsgiperf/{screen.name}.html",
        "breadcrumbs_template": BREADCRUMBS,
        "texts": texts(),
    }
    status = 404 if not problem and screens.not_found(page, context) else 503 if problem else 200
    if page.is_fragment:
        response = TemplateResponse(request, "django_wsgiperf/fragment.html", context, status=status)
        response[FRAGMENT_HEADER] = screen.name
        return response
    return TemplateResponse(request, "django_wsgiperf/page.html", site.each_context(request) | context, status=status)


def known_hosts(context: dict[str, Any], page: Page) -> list[str]:
    """The hosts to choose from, the chosen one always among them. A refresh shows no choices."""
    if page.is_fragment:
        return []
    found = context.get("hosts")
    if found is None:
        found = query.hosts(page.state.period) if page.screen.of_period else ()
    return sorted({*found, *([page.state.host] if page.state.host else [])})


def texts() -> dict[str, str]:
    """What the script says, in the language of the request."""
    return {
        "updated": _("updated {time} ago"),
        "paused": _("paused"),
        "failed": _("could not be refreshed, next try in {time}"),
        "signedOut": _("not signed in any more"),
        "now": _("updated just now"),
        "zoom": _("Zoomed: {from} to {to}"),
        "reset": _("Show all"),
        "chart": _("Use the arrow keys to read the values, plus and minus to zoom, Escape to show all."),
        "seconds": _("{number} s"),
        "minutes": _("{number} min"),
        "minutesSeconds": _("%(minutes)s min %(seconds)s s") % {"minutes": "{minutes}", "seconds": "{seconds}"},
        "hours": _("%(hours)s h %(minutes)s min") % {"hours": "{hours}", "minutes": "{minutes}"},
        "days": _("%(days)s d %(hours)s h") % {"days": "{days}", "hours": "{hours}"},
        "perSecond": _("{number}/s"),
        "milliseconds": _("{number} ms"),
        "microseconds": _("{number} µs"),
        "total": _("Total"),
    }


def export(page: Page, kind: str) -> HttpResponse:
    """The table of routes as a file, sorted and filtered as on the page."""
    rows = query.routes(page.state.period, host=page.state.host)
    rows = columns.arranged(rows, page.state.own.get("sort", columns.DEFAULT_SORT), page.state.own.get("q", ""))
    if kind == "csv":
        response = HttpResponse(columns.as_csv(rows), content_type="text/csv; charset=utf-8")
    else:
        data = columns.as_json(rows, period=page.state.period, host=page.state.host)
        response = HttpResponse(json.dumps(data, indent=1), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="routes-{page.state.period}.{kind}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
