"""Tests of `manage.py wsgiperf`: the frame, and its subcommands."""
