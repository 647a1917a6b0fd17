"""What is shipped beside the code: uPlot as its authors published it, translations that are complete."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import django_wsgiperf

PACKAGE = Path(django_wsgiperf.__file__).parent
STATIC = PACKAGE / "static" / "django_wsgiperf"


def test_vendored_files_are_those_that_were_published() -> None:
    folder = STATIC / "vendor" / "uplot"
    readme = (folder / "README.md").read_text()
    listed = dict(re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", readme, re.M))
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del there["README.md"]
    assert there == listed
    assert "1.6.32" in readme
    assert "v1.6.32" in (folder / "uPlot.iife.min.js").read_text()[:200]


def test_scripts_need_nothing_that_a_strict_policy_forbids() -> None:
    for path in STATIC.rglob("*.js"):
        text = path.read_text()
        assert "eval(" not in text, path
        assert "new Function" not in text, path
        assert ".innerHTML" not in text, path


def test_styles_and_scripts_ask_nobody_else() -> None:
    for path in (*STATIC.glob("*.js"), *STATIC.glob("*.css")):
        assert not re.search(r"https?://|@import|url\(", path.read_text()), path
