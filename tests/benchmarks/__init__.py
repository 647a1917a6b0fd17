"""Measured comparisons with the peers. Nothing here asserts a time; only the helpers in common/ have tests."""
