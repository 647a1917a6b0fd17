"""Tests of the warming client: sitemaps, addresses, the wire, and what is read from answers."""
