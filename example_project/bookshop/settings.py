"""The bookshop's settings: SQLite and process memory as they stand, moved elsewhere by the environment.

DATABASE_URL, REDIS_URL, SECRET_KEY, DEBUG, ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS and BOOKSHOP_* are read here,
through `environment.py`, and nowhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

from .environment import caches, database, env_bool, env_list, env_seconds, secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
# Everything that the shop writes: its database, its secret key, its exports.
DATA_DIR = Path(os.environ.get("BOOKSHOP_DATA") or BASE_DIR.parent / ".run" / "bookshop").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env_bool("DEBUG", True)
SECRET_KEY = secret_key(DEBUG, DATA_DIR / "secret-key")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "django_wsgiperf",
    "shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.sitemaps",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django_wsgiperf.middleware.RequestTimingMiddleware",
    "django_wsgiperf.middleware.ConnectionPoolMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# Twelve threads share four database connections, since a request needs one for a part of its time only.
WSGIPERF = {
    "SERVER": {"THREADS": 12},
    "POOL": {"MAX_SIZE": 4, "LEAK_THRESHOLD_S": 30},
    # With Redis all processes keep one set of pages, and hear of what purges them.
    "CACHE": {
        "STORE": "pages" if os.environ.get("REDIS_URL") else "",
        "EXCLUDE": ["/account/", "/basket/", "/checkout/"],
    },
}

ROOT_URLCONF = "bookshop.urls"
WSGI_APPLICATION = "bookshop.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context_processors.shop",
            ],
        },
    },
]

DATABASES = {"default": database(os.environ.get("DATABASE_URL", ""), DATA_DIR / "bookshop.sqlite3")}
CACHES = caches(os.environ.get("REDIS_URL", ""))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Process memory is not shared between worker processes, so sessions are read through it only when it is Redis.
SESSION_ENGINE = (
    "django.contrib.sessions.backends.cached_db"
    if os.environ.get("REDIS_URL")
    else "django.contrib.sessions.backends.db"
)
# Messages live in the session alone: a page that shows none then stays free of cookies.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"

HTTPS = env_bool("BOOKSHOP_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
# Being on the browsers' preload list is for the owner of a domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

# How long the supplier takes to answer, and how long one visitor may listen to the live feed.
BOOKSHOP_SUPPLIER_DELAY_S = env_seconds("BOOKSHOP_SUPPLIER_DELAY_S", 1.5)
BOOKSHOP_STREAM_MAX_S = env_seconds("BOOKSHOP_STREAM_MAX_S", 60.0)
BOOKSHOP_STREAM_POLL_S = env_seconds("BOOKSHOP_STREAM_POLL_S", 1.0)
# The password of the two demonstration users. They are created only in DEBUG.
BOOKSHOP_DEMO_PASSWORD = os.environ.get("BOOKSHOP_DEMO_PASSWORD", "twelve-threads")
