"""Processes that count requests, for the tests of forks, exits and kills: a script and its settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.server.processes import environment

BEGIN = """
import json, os, signal, sys, time
import django
from django.conf import settings

given = json.loads(os.environ["TEST_SETTINGS"])
settings.configure(SECRET_KEY="x" * 50, INSTALLED_APPS=["django_wsgiperf"], USE_TZ=True,
                   DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", **given)
django.setup()
from django_wsgiperf.metrics import pipeline, query
from django_wsgiperf.metrics.record import Record

def count(number, route="/books/"):
    for _ in range(number):
        record = Record("GET")
        pipeline.begin(record)
        record.route, record.status, record.ttfb_ns = route, 200, 5000
        record.end(record.began_ns + 5000)
        pipeline.submit(record)
"""


def settings_of(store: str, folder: Path, **metrics: Any) -> dict[str, Any]:
    """With a store in an SQLite file, or another in CACHES or DATABASES."""
    given: dict[str, Any] = {"WSGIPERF": {"METRICS": {"STORE": store, "INTERVAL_S": 1.0, **metrics}}}
    if store == "database":
        name = str(folder / "metrics.sqlite3")
        given["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}}
    return given


def script(settings: dict[str, Any], code: str, **options: Any) -> subprocess.Popen[str]:
    """A process that runs BEGIN and then `code`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BEGIN + code],
        env=environment({"TEST_SETTINGS": json.dumps(settings)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(settings: dict[str, Any], code: str) -> str:
    """What it prints; it must end well, and say nothing on stderr."""
    process = script(settings, code)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert errors == ""
    return output


def migrate(settings: dict[str, Any]) -> None:
    """Make the tables."""
    run(settings, "from django.core.management import call_command\ncall_command('migrate', verbosity=0)")


def requests(settings: dict[str, Any]) -> int:
    """All that a process of its own finds in the last hour."""
    return int(run(settings, "print(query.overview('1h').totals.requests)"))
