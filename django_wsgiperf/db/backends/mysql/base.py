"""ENGINE "django_wsgiperf.db.backends.mysql": Django's MySQL and MariaDB (mysqlclient) with pooled connections."""

from __future__ import annotations

from django.db.backends.mysql import base as mysql

from django_wsgiperf.db.adapters.mysql import MySQLAdapter
from django_wsgiperf.db.engine import make_pooled

DatabaseWrapper = make_pooled(mysql.DatabaseWrapper, MySQLAdapter, module=__name__)
