"""Template tags for what the shop draws itself: covers, stars, prices and bars."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from shop import covers
from shop.models import Book

register = template.Library()


@register.simple_tag
def cover(book: Book) -> SafeString:
    """The book's cover as inline SVG. It says nothing to a screen reader: the title stands beside it."""
    return format_html(
        '<svg class="cover" viewBox="0 0 {} {}" aria-hidden="true" focusable="false">{}</svg>',
        covers.WIDTH,
        covers.HEIGHT,
        covers.cover(book.title, book.author.name),
    )


@register.simple_tag
def stars(rating: Decimal | float, count: int | None = None) -> SafeString:
    """A row of five stars, filled to the nearest half; with the number of ratings when it is given."""
    if count == 0:
        return format_html('<span class="stars-none">{}</span>', "Not yet rated")
    halves = round(float(rating) * 2)
    number = "" if count is None else format_html('<span class="stars-count">{}</span>', count)
    return format_html(
        '<span class="stars" data-halves="{}" role="img" aria-label="{} of 5 stars"></span>{}',
        halves,
        f"{float(rating):.1f}",
        number,
    )


@register.simple_tag
def bar(value: float, most: float) -> SafeString:
    """A horizontal bar, `value` of `most` long."""
    share = 0 if not most else max(0.0, min(1.0, float(value) / float(most)))
    return format_html(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="bar-all" width="100" height="6" rx="3"/>'
        '<rect class="bar-part" width="{}" height="6" rx="3"/></svg>',
        f"{share * 100:.1f}",
    )


@register.filter
def money(amount: Decimal) -> str:
    """1234.5 as £1,234.50."""
    return f"£{amount:,.2f}"
