"""The German translation: complete, compiled from what is written, and with every placeholder."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation.template import templatize

import django_wsgiperf
from django_wsgiperf.metrics.stores.base import Store
from tests.dashboard.project import PREFIX

PACKAGE = Path(django_wsgiperf.__file__).parent
FOLDER = PACKAGE / "locale" / "de" / "LC_MESSAGES"
CALL = re.compile(r"\b(_|gettext|gettext_lazy|pgettext|ngettext|ngettext_lazy)$")
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}|%%")


def written() -> dict[str, list[str]]:
    """The translations in the .po file, by their (singular) originals."""
    found: dict[str, list[str]] = {}
    for block in (FOLDER / "django.po").read_text(encoding="utf-8").split("\n\n")[1:]:
        assert "fuzzy" not in block, block
        texts: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if not line.startswith('"'):
                key, line = line.split(" ", 1)
            texts[key] = texts.get(key, "") + ast.literal_eval(line)
        if texts:
            found[texts["msgid"]] = [text for name, text in texts.items() if name.startswith("msgstr")]
    return found


def asked_for() -> Iterator[tuple[str, str]]:
    """Every text in code and templates that is to be translated, with where it is."""
    files = [*PACKAGE.joinpath("dashboard").rglob("*.py"), PACKAGE / "models.py"]
    for path in files:
        yield from ((text, path.name) for text in texts_of(path.read_text(encoding="utf-8")))
    for path in PACKAGE.joinpath("templates").rglob("*.html"):
        for call in re.finditer(
            r"(?:gettext|ngettext|pgettext)\((u?'(?:[^'\\]|\\.)*'|u?\"(?:[^\"\\]|\\.)*\")", templatize(path.read_text())
        ):
            yield ast.literal_eval(call[1]), path.name


def texts_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and CALL.match(node.func.id):
            constants = [each.value for each in node.args if isinstance(each, ast.Constant)]
            yield constants[1 if node.func.id == "pgettext" else 0]


def test_every_text_is_translated() -> None:
    known = written()
    missing = [(text, place) for text, place in asked_for() if not all(known.get(text, [""]))]
    assert missing == []
    assert len(known) > 300


def test_placeholders_are_those_of_the_original() -> None:
    for original, translations in written().items():
        for text in translations:
            assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(original)), original


def test_compiled_file_is_that_of_the_written_one() -> None:
    with (FOLDER / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    catalogue = compiled._catalog  # type: ignore[attr-defined]
    there = {key[0] if isinstance(key, tuple) else key.rpartition("\x04")[2]: value for key, value in catalogue.items()}
    for original, translations in written().items():
        assert there[original] in translations, original


@pytest.mark.django_db
def test_pages_are_in_the_readers_language(busy: Store, viewer: Client) -> None:
    text = viewer.get(PREFIX, headers={"Accept-Language": "de"}).text
    assert "Wo die Zeit bleibt" in text
    assert "Immer wieder dieselbe Abfrage" in text
    assert "Where the time goes" not in text
    assert re.search(r"\d,\d+ ms", text)
    assert re.search(r'<time datetime="2\d{3}-[^"]+">\d+\. \w+\.? \d\d:\d\d</time>', text)
