"""The settings in effect with their origins, and what the system checks say of them. conf.py masks the secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.core import checks
from django.utils.translation import gettext as _

from django_wsgiperf import conf
from django_wsgiperf.checks import TAG
from django_wsgiperf.conf import ConfigurationError, Source

from .finding import Trouble


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    value: str
    origin: str
    help: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Options under one heading of docs/settings.md."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """One section of WSGIPERF. `count` and `changed` are of all its options, also of those that are not shown."""

    name: str
    groups: tuple[Group, ...]
    count: int
    changed: int


def sections(*, only_changed: bool = False) -> list[SettingsSection]:
    """Every option as this process runs with it. A section that is wrong is left out: the checks say why."""
    found: list[SettingsSection] = []
    for section in conf.SECTIONS:
        try:
            resolved = conf.current(section)
        except ConfigurationError:
            continue
        groups: dict[str, list[Row]] = {}
        count = changed = 0
        for option, row in zip(conf.options(section), conf.describe(resolved), strict=True):
            is_default = resolved.origins[option.name].source is Source.DEFAULT
            count += 1
            changed += not is_default
            if not (only_changed and is_default):
                groups.setdefault(option.group, []).append(Row(row.key, row.value, row.origin, row.help, is_default))
        shown = tuple(Group(title, tuple(rows)) for title, rows in groups.items())
        found.append(SettingsSection(section, shown, count, changed))
    return found


def troubles() -> tuple[Trouble, ...]:
    """What the checks of this project say, those for deployment included unless DEBUG is on; worst first."""
    return tuple(_troubles())


def _troubles() -> Iterator[Trouble]:
    from django.conf import settings

    try:
        messages = checks.run_checks(tags=[TAG], include_deployment_checks=not settings.DEBUG)
    except Exception as error:
        # A check of somebody else's making must not take the page away that would show it.
        yield Trouble("", "error", _("The system checks failed: %(error)s") % {"error": repr(error)})
        return
    for message in sorted(messages, key=lambda each: -each.level):
        if message.is_silenced():
            continue
        level = "error" if message.level >= checks.ERROR else "warning" if message.level >= checks.WARNING else "info"
        yield Trouble(str(message.id or ""), level, str(message.msg), str(message.hint or ""))
