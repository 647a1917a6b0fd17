"""The Django project that every measured server runs: the same handler, settings, pages and rows for all."""
