"""The response cache: a shared HTTP cache (RFC 9111) inside the application.

The core knows neither Django nor sockets: messages -> headers -> policy and key decide, entry is what is stored,
memory, store, tags and flight keep it. engine joins them, shelf finds and keeps, visit takes a request through; site,
tells and annotations read Django. wsgi.py and middleware.py are the doors, decorators.py and purging.py for projects.
"""
