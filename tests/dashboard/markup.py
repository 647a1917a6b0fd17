"""Reads a page of the performance pages as a browser would, for what has to hold on every one of them."""

from __future__ import annotations

from html.parser import HTMLParser


class Markup(HTMLParser):
    """Elements of a page with their attributes; faults are what a strict policy or a screen reader would trip over."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._pictures: list[bool] = []
        self._raw = ""
        self.feed(text)
        self.close()
        self.faults += [f"id {each!r} twice" for each in {each for each in self.ids if self.ids.count(each) > 1}]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"] or "")
        self.faults += [f"{tag} {name}" for name in found if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in found and found.get("type") != "application/json"):
            self.faults.append(f"inline {tag}")
        if (found.get("href") or found.get("src") or "").startswith("javascript:"):
            self.faults.append(f"{tag} javascript:")
        if tag == "th" and "scope" not in found:
            self.faults.append("th without scope")
        if tag == "img" and "alt" not in found:
            self.faults.append("img without alt")
        if tag in ("script", "link") and (found.get("src") or found.get("href") or "").startswith(("http", "//")):
            self.faults.append(f"{tag} from elsewhere")
        if tag == "svg":
            self._pictures.append(found.get("aria-hidden") == "true" or "base-svgs" in (found.get("class") or ""))
        if tag == "title" and self._pictures:
            self._pictures[-1] = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg" and not self._pictures.pop():
            self.faults.append("picture that is neither named nor hidden")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def own(self) -> str:
        """Its text."""
        return " ".join(" ".join(self.words).split())
