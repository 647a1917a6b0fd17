"""The bookshop's settings, and what its performance pages have to bear beside it."""

from __future__ import annotations

from bookshop.settings import *  # noqa: F403
from bookshop.settings import MIDDLEWARE as SHOP_MIDDLEWARE

ROOT_URLCONF = "tests.browser.strict.urls"
MIDDLEWARE = [
    "tests.browser.strict.policy.StrictPolicy",
    *SHOP_MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
]
