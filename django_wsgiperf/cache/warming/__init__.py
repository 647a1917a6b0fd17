"""Asks for pages before visitors do, so that the cache has them: a client of the site, like any other from outside.

sitemap (bytes -> addresses) and address (text -> where and what to ask) are plain; client speaks HTTP; outcome reads
what the cache says of itself; crew has the threads. It works on a running server and knows nothing of the engine.
"""
