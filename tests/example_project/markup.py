"""Reads a page of HTML and says what is wrong with it: a small check of structure, names and forbidden inline code."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
NEEDS_LABEL = {"input", "select", "textarea"}


class Page(HTMLParser):
    """A parsed page: its links, identifiers and text, and the problems found on the way."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: dict[str, int] = {}
        self.problems: list[str] = []
        self._labelled: set[str] = set()
        self._fields: list[tuple[str, dict[str, str | None]]] = []
        self._in_label = 0
        if not html.startswith("<!doctype html>"):
            self.problems.append("does not begin with a doctype")
        self.feed(html)
        self.close()
        self._finish()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
            self._in_label += tag == "label"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"line {self.getpos()[0]}: </{tag}> closes {self.open[-1:] or 'nothing'}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass
        self._in_label -= tag == "label"

    def _look(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        self.tags[tag] = self.tags.get(tag, 0) + 1
        found = dict(attrs)
        if len(found) != len(attrs):
            self.problems.append(f"line {line}: <{tag}> has an attribute twice")
        for name, value in found.items():
            if name.startswith("on") or name == "style" or (value or "").startswith("javascript:"):
                self.problems.append(f"line {line}: <{tag} {name}> is inline code")
        if tag == "style" or (tag == "script" and not found.get("src")):
            self.problems.append(f"line {line}: inline <{tag}>")
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "label" and found.get("for"):
            self._labelled.add(str(found["for"]))
        if tag in NEEDS_LABEL and found.get("type") not in ("hidden", "submit") and not self._in_label:
            self._fields.append((f"line {line}: <{tag} name={found.get('name')}>", found))

    def _finish(self) -> None:
        if self.open:
            self.problems.append(f"never closed: {self.open}")
        self.problems += [f"id {name!r} is there twice" for name in sorted(set(self.ids)) if self.ids.count(name) > 1]
        self.problems += [
            f"{where} has no label"
            for where, found in self._fields
            if found.get("id") not in self._labelled and not found.get("aria-label")
        ]
        for tag in ("h1", "title", "main"):
            if self.tags.get(tag) != 1:
                self.problems.append(f"{self.tags.get(tag, 0)} <{tag}>")
