"""Tests of the bookshop. They run with its own settings: `pytest tests/example_project --ds=bookshop.settings`."""
