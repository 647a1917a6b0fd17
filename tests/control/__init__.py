"""Tests of the control channel: processes that ask each other."""
