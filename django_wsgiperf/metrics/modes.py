"""Who sums and writes in a process: a thread where one may be had, else its requests. Looks at the process alone."""

from __future__ import annotations

import sys
from typing import Literal

Mode = Literal["thread", "requests", "tests", "off"]
"""Who does the work: a thread, requests when they are over, whoever calls flush(), or nobody."""


def mode() -> Mode:
    """Who does the work in this process."""
    mail = sys.modules.get("django.core.mail")
    if mail is not None and hasattr(mail, "outbox"):
        return "tests"  # Django's own sign that setup_test_environment() ran.
    return "thread" if has_threads() else "requests"


def has_threads() -> bool:
    """Whether threads run beside requests: in a process of uWSGI only where it was told so."""
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if not isinstance(options, dict):
        return True
    names = {key.decode() if isinstance(key, bytes) else str(key) for key in options}
    return bool(names & {"enable-threads", "threads"})
