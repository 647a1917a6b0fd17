"""ENGINE "django_wsgiperf.db.backends.postgis": GeoDjango's PostGIS, through psycopg 3, with pooled connections."""

from __future__ import annotations

from django.contrib.gis.db.backends.postgis import base as postgis

from django_wsgiperf.db.adapters.postgresql import PostgreSQLAdapter
from django_wsgiperf.db.engine import make_pooled

DatabaseWrapper = make_pooled(postgis.DatabaseWrapper, PostgreSQLAdapter, module=__name__)
