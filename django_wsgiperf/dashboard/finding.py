"""What a finding is, and the facts that the rules are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from django.utils.translation import gettext as _

from django_wsgiperf.metrics.results import Live, Overview


class Level(StrEnum):
    """How urgent; also the name of its colour and mark."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    OK = "ok"

    @property
    def label(self) -> str:
        return {
            Level.ERROR: _("Problem"),
            Level.WARNING: _("Warning"),
            Level.INFO: _("Note"),
            Level.OK: _("All well"),
        }[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """`screen` and `query` name the screen where more is to be seen."""

    level: Level
    key: str
    title: str
    detail: str
    remedy: str = ""
    screen: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A message of the system checks, without Django's classes. `level` is "error", "warning" or "info"."""

    id: str
    level: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that rules look at. Times and limits of the settings come along, so that rules need no settings."""

    overview: Overview
    live: Live
    troubles: tuple[Trouble, ...] = ()
    apdex_s: float = 0.5
    interval_s: float = 10.0
