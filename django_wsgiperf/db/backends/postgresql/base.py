"""ENGINE "django_wsgiperf.db.backends.postgresql": Django's PostgreSQL, through psycopg 3, with pooled connections."""

from __future__ import annotations

from django.db.backends.postgresql import base as postgresql

from django_wsgiperf.db.adapters.postgresql import PostgreSQLAdapter
from django_wsgiperf.db.engine import make_pooled

DatabaseWrapper = make_pooled(postgresql.DatabaseWrapper, PostgreSQLAdapter, module=__name__)
