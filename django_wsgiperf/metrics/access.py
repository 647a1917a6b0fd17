"""The logger `django_wsgiperf.access`: a line for each request, its numbers as fields, for servers without such a log.

Under `serve` the server's own access log asks for the same numbers by environ["wsgiperf.report"].
"""

from __future__ import annotations

import logging
from typing import Any

from . import pipeline
from .record import Record

logger = logging.getLogger("django_wsgiperf.access")


def log_and_submit(record: Record) -> None:
    """Write the line, and hand the record on."""
    if logger.isEnabledFor(logging.INFO):
        log(record)
    pipeline.submit(record)


def log(record: Record) -> None:
    """One line. The path has no query; what a client could forge in it is escaped by repr()."""
    fields: dict[str, Any] = {
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "bytes": record.body_bytes,
        "duration_ms": round(record.total_ns / 1e6, 3),
        **record.report(),
    }
    logger.info(
        "%s %r %d %.1f ms %s",
        record.method,
        record.path,
        record.status,
        record.total_ns / 1e6,
        record.route,
        extra=fields,
    )
