from __future__ import annotations

from django.urls import re_path

from passing.views import pass_on

urlpatterns = [re_path("", pass_on)]
