"""Tests of the performance pages, and the traffic that they are shown with."""
