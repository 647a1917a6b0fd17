"""The response cache: a shared HTTP cache (RFC 9111) inside the application.

The core knows neither Django nor sockets: messages -> headers -> policy and key decide, entry is what is stored,
memory, store, tags and flight keep it. engine joins them; wsgi.py, middleware.py and decorators.py are its doors.
"""
