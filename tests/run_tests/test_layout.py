"""What lies at the top of the tree, where everybody looks first."""

from __future__ import annotations

from tests._run.wheel import ROOT

TOP = {"LICENSE", "README.md", "django_wsgiperf", "docs", "example_project", "pyproject.toml", "tests"}
MADE = {"__pycache__", "build", "dist", "htmlcov"}


def test_nothing_else_lies_at_the_top() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    assert names - MADE == TOP
