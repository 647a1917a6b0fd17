"""The WSGI application that `manage.py serve` and every other WSGI server loads, with the response cache before it."""

from __future__ import annotations

import os

from django_wsgiperf.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")

application = get_wsgi_application()
