"""Elements of SVG as safe text: whatever is not marked as safe is escaped here, and style is left to the style sheet.

Presentation attributes such as `d` and `width` are no inline styles, so that a strict Content-Security-Policy lets
them through. Colours come from classes. What is drawn is up to charts.py and its like.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import conditional_escape, escape
from django.utils.safestring import SafeString, mark_safe


def element(name: str, *children: str, **attributes: object) -> SafeString:
    """An element. An underscore at the end of an attribute's name is cut, others are dashes; None leaves it out."""
    written = "".join(
        f' {_attribute(key)}="{escape(_text(value))}"' for key, value in attributes.items() if value is not None
    )
    inner = "".join(conditional_escape(child) for child in children)
    return mark_safe(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")


def picture(
    width: float,
    height: float,
    children: Iterable[str],
    *,
    title: str = "",
    description: str = "",
    class_: str = "",
    stretch: bool = False,
) -> SafeString:
    """A whole picture; one without a title is decoration, and not read aloud."""
    told = [element("title", title)] if title else []
    if description:
        told.append(element("desc", description))
    return element(
        "svg",
        *told,
        *children,
        class_=class_ or None,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        preserveAspectRatio="none" if stretch else None,
        role="img" if title else None,
        aria_hidden=None if title else "true",
        focusable="false",
    )


def path(points: Iterable[tuple[float, float] | None]) -> str:
    """Straight lines through the points; None interrupts."""
    commands: list[str] = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        commands.append(f"{pen}{_text(point[0])} {_text(point[1])}")
        pen = "L"
    return "".join(commands)


def _attribute(key: str) -> str:
    return key.rstrip("_") if key in ("viewBox", "preserveAspectRatio") else key.rstrip("_").replace("_", "-")


def _text(value: object) -> str:
    """Whole hundredths: more would not be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
