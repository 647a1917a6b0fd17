"""The control channel: the project's processes on this host ask each other, over Unix sockets in a private folder.

Each process that serves requests listens (`start`) and answers by topic (`handle`); any process of the same user and
project may ask them all at once (`ask`). Messages are small JSON objects. What is asked for, and what it means, is the
business of whoever registers a topic. folder.py says where sockets are, server.py listens, client.py asks.
"""

from __future__ import annotations

from .client import ask
from .handlers import Answer, handle
from .server import is_running, start, stop

__all__ = ["Answer", "ask", "handle", "is_running", "start", "stop"]
