"""Limits of a server that a busy machine may pass by itself: far away in tests, unless a test is about one of them."""

from __future__ import annotations

from typing import Any

#: By the names of ServerSettings.
PATIENT: dict[str, Any] = {
    "queue_deadline_s": 600.0,
    "queue_standing_deadline_s": 600.0,
    "header_timeout_s": 600.0,
    "body_timeout_s": 600.0,
    "body_min_rate": 0,
    "write_timeout_s": 600.0,
}
#: The same for the environment of a server in a process of its own.
PATIENT_ENVIRONMENT = {f"WSGIPERF_{name.upper()}": f"{value:g}" for name, value in PATIENT.items()}
