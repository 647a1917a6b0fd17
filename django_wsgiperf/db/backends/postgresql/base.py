"""ENGINE "django_wsgiperf.db.backends.postgresql": Django's PostgreSQL, through psycopg 3, with pooled connections."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base as postgresql
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_wsgiperf.db.adapters.postgresql import PostgreSQLAdapter
from django_wsgiperf.db.engine import make_pooled

if not is_psycopg3:
    raise ImproperlyConfigured(
        "ENGINE django_wsgiperf.db.backends.postgresql needs psycopg 3, and psycopg2 was found. "
        "Install django-wsgiperf[postgres]."
    )

DatabaseWrapper = make_pooled(postgresql.DatabaseWrapper, PostgreSQLAdapter, module=__name__)
