"""What changes something: interrupt a request, purge the response cache. By POST, with a permission of its own.

The first POST answers with a question, the second, which is confirmed, acts; what was done is in the admin's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_wsgiperf.metrics import query
from django_wsgiperf.models import Dashboard

from . import asking, formats, screens
from .page import MANAGE
from .responses import BREADCRUMBS, open_page

LONGEST: Final = 2000
MOST_TAGS: Final = 50


@dataclass(frozen=True, slots=True)
class Request:
    """An action that was asked for: the question to confirm, what it does, and the form's values to send again."""

    question: str
    button: str
    values: tuple[tuple[str, str], ...]
    act: Callable[[], Outcome]
    more: Callable[[], str] = str
    """What else is to be known before it is confirmed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`level` is one of django.contrib.messages. `logged` goes to the admin's log; empty when nothing was done."""

    message: str
    level: int
    logged: str = ""
    subject: str = ""


def interrupt(data: Any) -> Request | None:
    process, key, route = (str(data.get(name, ""))[:LONGEST] for name in ("process", "key", "route"))
    if not process or not key:
        return None
    subject = route or key

    def act() -> Outcome:
        if query.interrupt(process, key):
            logged = f"Interrupted {subject} in {process}."
            return Outcome(_("%(route)s was interrupted.") % {"route": subject}, messages.SUCCESS, logged, subject)
        return Outcome(
            _("%(route)s has ended already, or cannot be interrupted.") % {"route": subject}, messages.WARNING
        )

    question = _(
        "Interrupt %(route)s in %(process)s? Its client is answered with an error, and its transaction rolled back."
    )
    return Request(
        question % {"route": subject, "process": process},
        _("Interrupt"),
        (("process", process), ("key", key), ("route", route)),
        act,
    )


def purge(data: Any) -> Request | None:
    kind = str(data.get("kind", ""))
    url = str(data.get("url", "")).strip()[:LONGEST]
    tags = list(dict.fromkeys(str(data.get("tags", "")).replace(",", " ").split()))[:MOST_TAGS]
    values = (("kind", kind), ("url", url), ("tags", " ".join(tags)))
    if kind == "url" and url:
        return _purging({"urls": [url]}, url, _("Purge %(what)s?") % {"what": url}, values)
    if kind == "tags" and tags:
        named = ", ".join(tags)
        return _purging({"tags": tags}, named, _("Purge everything that is tagged %(what)s?") % {"what": named}, values)
    if kind == "all":
        question = _("Purge the whole response cache? Every page is then made again when it is asked for.")
        return _purging({"all": True}, _("everything"), question, values)
    return None


def _purging(order: dict[str, Any], what: str, question: str, values: tuple[tuple[str, str], ...]) -> Request:
    def act() -> Outcome:
        done = asking.purge(order)
        if done.error:
            return Outcome(_("Nothing was purged: %(error)s") % {"error": done.error}, messages.ERROR)
        if not done.processes:
            return Outcome(_("Nothing was purged: no process uses the response cache."), messages.WARNING)
        logged = f"Purged from the response cache: {what}."
        if done.everywhere:
            return Outcome(_("Purged: %(what)s.") % {"what": what}, messages.SUCCESS, logged, what)
        message = _(
            "Purged on this host: %(what)s. The shared store is out of order; others hear of it when it is back."
        )
        return Outcome(message % {"what": what}, messages.WARNING, logged, what)

    return Request(question, _("Purge"), values, act, lambda: _hits(order))


def _hits(order: dict[str, Any]) -> str:
    """How much an order would hit, in words."""
    count = asking.matching(order)
    if count is None:
        return ""
    text = ngettext("It hits %(count)s page in memory.", "It hits %(count)s pages in memory.", count)
    return text % {"count": formats.number(count)}


@dataclass(frozen=True, slots=True)
class Action:
    """`back` is the screen to return to."""

    name: str
    path: str
    back: str
    read: Callable[[Any], Request | None]


ACTIONS: Final = (
    Action("interrupt", "live/interrupt/", "live", interrupt),
    Action("purge", "cache/purge/", "cache", purge),
)


def perform(site: AdminSite, request: HttpRequest, action: Action) -> HttpResponse:
    """Ask, or do it when it is confirmed."""
    page = open_page(site, request, screens.BY_NAME[action.back])
    if not request.user.has_perm(MANAGE):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    asked = action.read(request.POST)
    if asked is None:
        messages.error(request, _("Nothing was done: say what is meant."))
        return HttpResponseRedirect(page.url(action.back))
    if "confirmed" not in request.POST:
        context = site.each_context(request) | {
            "page": page,
            "screen": page.screen,
            "state": page.state,
            "title": _("Are you sure?"),
            "asked": asked,
            "more": asked.more(),
            "action": page.url(action.name),
            "parent": page.screen,
            "breadcrumbs_template": BREADCRUMBS,
        }
        return TemplateResponse(request, "django_wsgiperf/confirm.html", context)
    outcome = asked.act()
    if outcome.logged:
        log(request, outcome.subject, outcome.logged)
    messages.add_message(request, outcome.level, outcome.message)
    return HttpResponseRedirect(page.url(action.back))


def log(request: HttpRequest, subject: str, message: str) -> None:
    """Write to the admin's log who did what."""
    LogEntry.objects.create(
        user_id=request.user.pk,
        content_type_id=ContentType.objects.get_for_model(Dashboard).pk,
        object_repr=subject[:200],
        action_flag=CHANGE,
        change_message=message,
    )
