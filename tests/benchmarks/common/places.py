"""Where things are: this tree, the project that is measured, what a run leaves, and the page with the figures."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROJECT = ROOT / "tests" / "benchmarks" / "project"
#: Results and logs.
FOLDER = ROOT / ".run" / "benchmarks"
DOCS = ROOT / "docs" / "benchmarks.md"
#: Threads of every server under comparison.
THREADS = 12
