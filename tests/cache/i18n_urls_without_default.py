"""Addresses with a language before them, but for the default one."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import re_path

from .doors import dispatch

urlpatterns = i18n_patterns(re_path(r"^(?P<path>.*)$", dispatch), prefix_default_language=False)
