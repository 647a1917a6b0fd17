"""Its settings. The databases come by the environment, as JSON."""

from __future__ import annotations

import json
import os

DATABASES = json.loads(os.environ["PROJECT_DATABASES"])
DATABASE_ROUTERS = ["tests.db.project.routers.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_wsgiperf", "tests.db.project"]
MIDDLEWARE = ["django_wsgiperf.middleware.ConnectionPoolMiddleware"]
ROOT_URLCONF = "tests.db.project.urls"
SECRET_KEY = "project" * 8
USE_TZ = True
# The live server of the tests wants one.
STATIC_URL = "/static/"
