"""What the numbers were measured on: one line for people, one dictionary for files."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """Give the processor's model name."""
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def memory_gib() -> float:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) / 1024 / 1024 if found else 0.0


def shape() -> dict[str, str]:
    """Describe this machine: cores, processor, memory, kernel, virtualisation hint, Python."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": processor(),
        "memory": f"{memory_gib():.0f} GiB",
        "kernel": f"{platform.system()} {re.split('[-+]', platform.release())[0]}",
        "virtual": "virtual machine" if " hypervisor " in _read("/proc/cpuinfo") else "",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def line(described: dict[str, str]) -> str:
    """Write `shape()` as one line."""
    parts = (
        f"{described['cores']} cores", described["processor"], described["virtual"], described["memory"],
        described["kernel"], described["python"],
    )  # fmt: skip
    return ", ".join(part for part in parts if part)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
