"""The settings module of a run, loaded by Django's runtests.py. What differs between runs comes by the environment."""

from __future__ import annotations

import json
import os

from tests.django_suite.engines import VARIABLE

DATABASES = json.loads(os.environ[VARIABLE])["databases"]
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "tests.django_suite.recorder.RecordingRunner"
