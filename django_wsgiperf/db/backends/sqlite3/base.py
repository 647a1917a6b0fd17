"""ENGINE "django_wsgiperf.db.backends.sqlite3": Django's SQLite with pooled connections."""

from __future__ import annotations

from django.db.backends.sqlite3 import base as sqlite3

from django_wsgiperf.db.adapters.sqlite import SQLiteAdapter
from django_wsgiperf.db.engine import make_pooled

DatabaseWrapper = make_pooled(sqlite3.DatabaseWrapper, SQLiteAdapter, module=__name__)
