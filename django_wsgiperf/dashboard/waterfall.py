"""One slow request as a waterfall: a row for each span, with a bar where and as long as it was.

The rows are a table in HTML, its bars small pictures, so that text wraps and is read aloud in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from django_wsgiperf.metrics.results import Sample, Span

from . import formats
from .charts import WIDTH
from .svg import element, picture

LONGEST_TEXT: Final = 2000
KINDS: Final = {
    "queue": gettext_lazy("Queue"),
    "middleware": gettext_lazy("Middleware"),
    "view": gettext_lazy("View"),
    "db": gettext_lazy("Database"),
    "pool": gettext_lazy("Connection"),
    "cache": gettext_lazy("Cache"),
    "template": gettext_lazy("Template"),
    "gc": gettext_lazy("Garbage collection"),
    "page_cache": gettext_lazy("Response cache"),
    "write": gettext_lazy("Sending"),
}
"""The kinds of spans in words; one that is not known is shown as it is called."""
LONG: Final = 110
"""Characters of text that are seen without opening the rest."""
REPEATING: Final = ("db", "cache", "pool")
"""Kinds of which equal ones after each other are one row."""


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    kind_label: str
    count: int
    text: str
    rest: str
    """All of the text, where it is long."""
    start: str
    duration: str
    picture: SafeString


def waterfall(sample: Sample) -> list[Row]:
    """The spans in the order of their beginnings; of two that begin together, the longer is the outer one.

    The same statement several times in a row is one row with several bars."""
    spans = sorted(sample.spans, key=lambda span: (span.start_s, -span.duration_s))
    begin = min([0.0, *(span.start_s for span in spans)])
    end = max([sample.duration_s, *(span.start_s + span.duration_s for span in spans)])
    whole = (end - begin) or 1.0
    return [_row(group, begin, whole) for group in _grouped(spans)]


def _grouped(spans: Sequence[Span]) -> list[list[Span]]:
    groups: list[list[Span]] = []
    for span in spans:
        last = groups[-1][-1] if groups else None
        if last is not None and span.kind in REPEATING and (span.kind, span.text) == (last.kind, last.text):
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _row(group: Sequence[Span], begin: float, whole: float) -> Row:
    span = group[0]
    bars = [((each.start_s - begin) / whole, each.duration_s / whole) for each in group]
    key = span.kind if span.kind in KINDS else "other"
    return Row(
        key,
        str(KINDS.get(span.kind, span.kind)),
        len(group),
        _cut(span.text, LONG),
        _cut(span.text, LONGEST_TEXT) if len(span.text) > LONG else "",
        formats.duration(max(0.0, span.start_s - begin)),
        formats.duration(sum(each.duration_s for each in group)),
        _bars(key, bars),
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _bars(key: str, bars: Sequence[tuple[float, float]]) -> SafeString:
    """Start and length of each, as shares of the whole. Each is at least so wide that it is seen."""
    drawn = [element("path", d=f"M0 5H{WIDTH:g}", class_="wsgiperf-track")]
    for start, length in bars:
        width = max(3.0, WIDTH * length)
        x = min(WIDTH * start, WIDTH - width)
        drawn.append(element("rect", x=x, width=width, height=10, class_=f"wsgiperf-fill-{key}"))
    return picture(WIDTH, 10, drawn, class_="wsgiperf-span", stretch=True)
