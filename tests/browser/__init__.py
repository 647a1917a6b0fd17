"""Tests of the bookshop in a real browser, and the command that takes the screenshots of the documentation."""
