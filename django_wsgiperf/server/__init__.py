"""Sockets to WSGI and back: the thread pool server behind `manage.py serve`.

Nothing here imports a Django model, cache or admin class; an application is any PEP 3333 callable. Bytes come in
through reactor.py, become requests in http1.py, run in threadpool.py through gateway.py, and leave by outbound.py.
"""

from __future__ import annotations
