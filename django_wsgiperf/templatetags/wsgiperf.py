"""What the templates of the performance pages need: addresses that keep the reader's choices, numbers, small bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_wsgiperf.dashboard import charts, formats, nonces, series
from django_wsgiperf.metrics.instruments import MIDDLEWARE
from django_wsgiperf.metrics.results import Sample

register = template.Library()

register.filter("wsgiperf_mark", series.mark_label)
for show in (formats.duration, formats.size, formats.share, formats.rate, formats.short, formats.iso, formats.frame):
    register.filter(f"wsgiperf_{show.__name__}", show)


@register.filter
def wsgiperf_number(value: float | None, digits: int = 0) -> str:
    return formats.number(value, digits)


@register.filter
def wsgiperf_moment(value: float | None, how: str = "") -> str:
    """`how` has "d" for the day and "s" for seconds."""
    return formats.moment(value, day="d" in how, seconds="s" in how)


@register.filter
def wsgiperf_meter(share: float | None, key: str = "meter") -> SafeString:
    return charts.meter(share, key)


@register.simple_tag
def wsgiperf_bar(parts_s: Mapping[str, float], divisor: float = 1.0) -> SafeString:
    """The parts of a time in a row."""
    return charts.bar(charts.parts(parts_s, divisor), _("Where the time went"))


@register.simple_tag
def wsgiperf_is_timed() -> bool:
    """Whether requests are measured here at all, which is also what has a process report."""
    return any(name in settings.MIDDLEWARE for name in MIDDLEWARE)


@register.simple_tag
def wsgiperf_kinds(samples: Iterable[Sample]) -> list[charts.Part]:
    """The parts that the bars of all these have, for the legend."""
    sums: dict[str, float] = {}
    for sample in samples:
        for name, part_s in sample.parts_s.items():
            sums[name] = sums.get(name, 0.0) + part_s
    return charts.parts(sums)


@register.simple_tag(takes_context=True)
def wsgiperf_url(context: dict[str, Any], screen: str, **parameters: str) -> str:
    """The address of a screen, with the reader's choices and further parameters."""
    return str(context["page"].url(screen, **parameters))


@register.simple_tag(takes_context=True)
def wsgiperf_nonce(context: dict[str, Any]) -> SafeString | str:
    """The nonce attribute of a script or style sheet, where there is a nonce."""
    nonce = nonces.csp_nonce(context.get("request"))
    return format_html(' nonce="{}"', nonce) if nonce else ""
