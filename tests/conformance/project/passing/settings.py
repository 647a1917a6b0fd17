"""Settings of the site. CONFORMANCE_CACHE holds those of our cache."""

from __future__ import annotations

import json
import os

SECRET_KEY = "only-for-the-conformance-suite-" + "x" * 40
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "passing.urls"
INSTALLED_APPS = ["django_wsgiperf"]
# None may add a field to a response, or take one away.
MIDDLEWARE: list[str] = []
# The suite's requests are no forms.
APPEND_SLASH = False
WSGIPERF = {
    "CACHE": json.loads(os.environ.get("CONFORMANCE_CACHE", "{}")),
    "METRICS": {"ENABLED": False},
}
