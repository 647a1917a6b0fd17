"""django-wsgiperf: serve Django under WSGI fast, and see what it does."""

from __future__ import annotations

__version__ = "0.1.0"
