"""Compares the response cache with nginx's proxy_cache and with Django's cache middleware, in one run.

`python -m tests.benchmarks.cache` is described in docs/benchmarks.md.
"""
