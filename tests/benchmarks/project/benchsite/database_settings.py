"""Settings for comparing ways to get database connections: the same pages, another DATABASES and MIDDLEWARE each time.

BENCHMARK_SETUP is JSON: `database`, the entry of the default alias, and `middleware`, what goes before all others.
"""

from __future__ import annotations

import json
import os

from benchsite.settings import *  # noqa: F403
from benchsite.settings import MIDDLEWARE as COMMON

SETUP = json.loads(os.environ["BENCHMARK_SETUP"])
DATABASES = {"default": SETUP["database"]}
MIDDLEWARE = [*SETUP["middleware"], *COMMON]
ROOT_URLCONF = "benchsite.database_urls"
