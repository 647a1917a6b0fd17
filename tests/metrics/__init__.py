"""Tests of what is measured, how it is summed and kept, and how it is told."""
