"""Where the servers and programs are that tests need: from TEST_* variables, or else from this machine as it runs.

Tests take the fixtures of conftest.py, which come from here. `python -m tests.services` tells the same as JSON to
`tests/run.py`, which starts private servers, gives their addresses by those variables, and by TEST_MISSING why there
is none. Nothing is started here: looking.py finds, examining.py tries, scratch.py makes databases for one run.
Standard library only at import; the database drivers are imported when they are used.
"""

from __future__ import annotations

from tests.services.address import Address
from tests.services.looking import (
    MISSING_VARIABLE,
    SERVICES,
    Found,
    Missing,
    Service,
    ServiceMissing,
    address,
    chromium,
    find,
    look,
    mysql,
    nginx,
    postgres,
    redis,
    wrk,
)
from tests.services.scratch import scratch_database, scratch_redis
from tests.services.statements import drop_database, execute

__all__ = [
    "MISSING_VARIABLE",
    "SERVICES",
    "Address",
    "Found",
    "Missing",
    "Service",
    "ServiceMissing",
    "address",
    "chromium",
    "drop_database",
    "execute",
    "find",
    "look",
    "mysql",
    "nginx",
    "postgres",
    "redis",
    "scratch_database",
    "scratch_redis",
    "wrk",
]
