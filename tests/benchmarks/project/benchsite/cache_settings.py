"""Settings for comparing caches of whole pages: the same pages, another cache each time.

BENCHMARK_CACHE is JSON: `caches` (CACHES), `before` and `after` (middleware around the project's own), and `wsgiperf`
(the section CACHE).
"""

from __future__ import annotations

import json
import os

from benchsite.settings import *  # noqa: F403
from benchsite.settings import MIDDLEWARE as COMMON

SETUP = json.loads(os.environ["BENCHMARK_CACHE"])
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, **SETUP["caches"]}
CACHE_MIDDLEWARE_ALIAS = "pages" if "pages" in CACHES else "default"
MIDDLEWARE = [*SETUP["before"], *COMMON, *SETUP["after"]]
# Measuring is on, as it is by default; there is no database that its numbers could be kept in.
DATABASES: dict[str, dict[str, object]] = {}
WSGIPERF: dict[str, dict[str, object]] = {"CACHE": SETUP["wsgiperf"], "METRICS": {"STORE": "memory"}}
ROOT_URLCONF = "benchsite.cache_urls"
