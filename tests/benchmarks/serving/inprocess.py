"""What one page costs without any server: `python -m tests.benchmarks.serving.inprocess /small /books`.

Calls the WSGI handler in this process and prints one JSON object per path: the body's digest, against which every
server is verified, and the median wall and processor time of a call. Run by the benchmark in a process of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import statistics
import sys
import time
from typing import Any

from tests.benchmarks.serving.environ import ready_made

WARM_S = 0.2
BATCH_S = 0.05
BATCHES = 11


def call(application: Any, environ: dict[str, Any]) -> tuple[str, bytes]:
    """Run the handler once, as PEP 3333 says, and give the status and the body."""
    seen: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        seen.append(status)

    result = application(environ.copy(), start_response)
    body = b"".join(result)
    result.close()
    return seen[0], body


def measure(application: Any, path: str) -> dict[str, Any]:
    """Give status, digest and size of `path`, and its median cost in us over batches."""
    environ = ready_made(path)
    until_s = time.perf_counter() + WARM_S
    status, body = call(application, environ)
    while time.perf_counter() < until_s:
        call(application, environ)
    wall_us, cpu_us = [], []
    for _ in range(BATCHES):
        calls, wall_ns, cpu_ns = 0, time.perf_counter_ns(), time.process_time_ns()
        while (spent_ns := time.perf_counter_ns() - wall_ns) < BATCH_S * 1e9:
            call(application, environ)
            calls += 1
        cpu_us.append((time.process_time_ns() - cpu_ns) / calls / 1000)
        wall_us.append(spent_ns / calls / 1000)
    return {
        "path": path,
        "status": status,
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "wall_us": statistics.median(wall_us),
        "cpu_us": statistics.median(cpu_us),
    }


def main() -> None:
    application = importlib.import_module("benchsite.wsgi").application
    for path in sys.argv[1:]:
        print(json.dumps(measure(application, path)), flush=True)


if __name__ == "__main__":
    main()
