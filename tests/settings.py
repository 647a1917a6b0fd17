"""The smallest Django project that the test suite can run in. A test that needs more overrides it there."""

from __future__ import annotations

import os
import secrets

# A run's own, which its child processes inherit: processes of two runs must not find each other.
SECRET_KEY = os.environ.setdefault("TESTS_SECRET_KEY", "only-for-tests-" + secrets.token_hex(20))
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
USE_TZ = True

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_wsgiperf"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.urls"

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
