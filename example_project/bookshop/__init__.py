"""The bookshop's project package: settings, the root of its URLs and its WSGI application."""
