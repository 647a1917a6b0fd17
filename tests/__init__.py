"""The test suite. It mirrors the package: tests/server for django_wsgiperf/server, and so on."""
