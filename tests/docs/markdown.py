"""Reads of a Markdown page what the documentation's tests ask about: links, anchors, code fences.

Plain text in, plain values out. It knows as much Markdown as our own pages use, and no more.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(
    r"^(?P<indent> *)(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^ *(?P=mark)`* *$", re.M | re.S
)
INLINE_LINK = re.compile(r"\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+[\"'(][^)]*)?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(?P<target>[^\s>]+)", re.M)
HTML_LINK = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=[\"'](?P<target>[^\"']+)", re.I)
HTML_ANCHOR = re.compile(r"\b(?:id|name)=[\"'](?P<name>[^\"']+)", re.I)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.+?)\s*#*\s*$", re.M)
CODE_SPAN = re.compile(r"(?P<mark>`+)(?P<code>.+?)(?P=mark)", re.S)
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code: the first word after the fence, the text without common indentation, its line."""

    language: str
    body: str
    line: int


def fences(text: str) -> Iterator[Fence]:
    """The code blocks of a page."""
    for match in FENCE.finditer(text):
        words = match["info"].split()
        # The body begins on the line after the fence itself.
        line = text.count("\n", 0, match.start("body")) + 1
        yield Fence(words[0] if words else "", textwrap.dedent(match["body"]), line)


def prose(text: str) -> str:
    """The page without its code."""
    return CODE_SPAN.sub("", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """Where the page's links and images lead, other sites left out."""
    plain = prose(text)
    targets = [match["target"] for kind in (INLINE_LINK, REFERENCE, HTML_LINK) for match in kind.finditer(plain)]
    return [unquote(target) for target in targets if not EXTERNAL.match(target) and not target.startswith("//")]


def anchors(text: str) -> set[str]:
    """The names that `#...` may take, made as the usual sites make them."""
    plain = FENCE.sub("", text)
    found = {match["name"] for match in HTML_ANCHOR.finditer(plain)}
    counts: dict[str, int] = {}
    for match in HEADING.finditer(plain):
        slug = anchor(match["text"])
        count = counts.get(slug, 0)
        found.add(f"{slug}-{count}" if count else slug)
        counts[slug] = count + 1
    return found


def anchor(heading: str) -> str:
    """A heading's own anchor: lower case, words joined by dashes, without punctuation."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", re.sub(r"<[^>]+>", "", text).lower()).replace(" ", "-")


def broken_links(page: Path, root: Path) -> list[str]:
    """The page's links that lead nowhere, or out of the checkout, each with the reason."""
    problems: list[str] = []
    for target in links(page.read_text(encoding="utf-8")):
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            problems.append(f"{target}: there is no {path}")
        elif not file.is_relative_to(root):
            problems.append(f"{target}: that is outside the checkout")
        elif fragment and file.suffix == ".md" and fragment not in anchors(file.read_text(encoding="utf-8")):
            problems.append(f"{target}: {file.name} has no heading #{fragment}")
    return problems


def commands(fence: Fence) -> Iterator[list[str]]:
    """The command lines of a `console` fence: what follows `$`, lines continued by a backslash put together."""
    for line in fence.body.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("$ "):
            for part in re.split(r"\s(?:&&|\|\||[|;&])(?:\s|$)", line.lstrip()[2:]):
                words = shlex.split(part, comments=True)
                while words and (re.match(r"\w+=", words[0]) or words[0] in {"sudo", "env", "exec", "time"}):
                    words.pop(0)
                if words:
                    yield words
