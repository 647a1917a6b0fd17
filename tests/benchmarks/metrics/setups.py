"""Who takes part: each way to measure requests, as Django settings. Nothing of batches or results."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASE, OURS, BARE, PROMETHEUS, SILK = "base", "ours", "ours-bare", "prometheus", "silk"
SQLITE = "django.db.backends.sqlite3"
QUERIES = 20
"""Of the page that has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way. `package` is empty where nothing beside Django is needed."""

    name: str
    title: str
    package: str = ""
    middleware: tuple[str, ...] = ()
    engine: str = SQLITE
    apps: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, database: str) -> dict[str, Any]:
        """Django's settings, with a SQLite file of its own."""
        return {
            "DATABASES": {"default": {"ENGINE": self.engine, "NAME": database, "CONN_MAX_AGE": None}},
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", *self.apps],
            "MIDDLEWARE": [*self.middleware],
            "ROOT_URLCONF": "tests.benchmarks.metrics.pages",
            "SECRET_KEY": "only-for-benchmarks-" + "x" * 40,
            "ALLOWED_HOSTS": ["*"],
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
            "USE_TZ": True,
            "LOGGING_CONFIG": None,
            **self.more,
        }

    def version(self) -> str:
        """The version of its package; empty when that is not installed."""
        if not self.package:
            return "of this tree"
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return ""


TIMING = "django_wsgiperf.middleware.RequestTimingMiddleware"
SETUPS: Mapping[str, Setup] = {
    setup.name: setup
    for setup in (
        Setup(name=BASE, title="nothing"),
        Setup(
            name=OURS, title="django-wsgiperf", middleware=(TIMING,), apps=("django_wsgiperf",),
        ),
        Setup(
            name=BARE, title="django-wsgiperf, without request ids and Server-Timing", middleware=(TIMING,),
            apps=("django_wsgiperf",),
            more={"WSGIPERF": {"METRICS": {"REQUEST_ID": False, "SERVER_TIMING": "off"}}},
        ),
        Setup(
            name=PROMETHEUS, title="django-prometheus", package="django-prometheus",
            middleware=(
                "django_prometheus.middleware.PrometheusBeforeMiddleware",
                "django_prometheus.middleware.PrometheusAfterMiddleware",
            ),
            engine="django_prometheus.db.backends.sqlite3",
            apps=("django_prometheus",),
        ),
        Setup(
            name=SILK, title="django-silk", package="django-silk", middleware=("silk.middleware.SilkyMiddleware",),
            apps=("django.contrib.sessions", "django.contrib.messages", "silk"),
        ),
    )
}  # fmt: skip
PEERS: Sequence[str] = (PROMETHEUS, SILK)
