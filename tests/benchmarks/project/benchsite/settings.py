"""Settings of the benchmark project, the same for every server that is measured.

Two environment variables steer them: BENCHMARK_DATABASE (a postgresql:// address or the path of a SQLite file)
and BENCHMARK_IDLE (connections that must be kept open unused; 0 leaves our server at its defaults).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def database(address: str) -> dict[str, object]:
    """Turn BENCHMARK_DATABASE into a DATABASES entry. Connections stay open, as in any site that cares for speed."""
    if not address.startswith(("postgres://", "postgresql://")):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address, "CONN_MAX_AGE": None}
    url = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": url.port or "",
        "CONN_MAX_AGE": None,
    }


SECRET_KEY = "only-for-benchmarks-" + "x" * 40
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "benchsite.urls"
WSGI_APPLICATION = "benchsite.wsgi.application"
INSTALLED_APPS = ["django_wsgiperf", "benchsite"]
# One middleware, for Content-Length: without it every server would have to choose a framing of its own.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": database(
        os.environ.get("BENCHMARK_DATABASE", str(Path(__file__).resolve().parent.parent / "benchmark.sqlite3"))
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

IDLE = int(os.environ.get("BENCHMARK_IDLE", "0"))
# Servers are compared, and the others have no response cache.
WSGIPERF: dict[str, dict[str, object]] = {"CACHE": {"ENABLED": False}}
if IDLE:
    WSGIPERF["SERVER"] = {"MAX_CONNECTIONS": IDLE + 1000, "KEEPALIVE_S": 3600.0}
