"""Tests of the numbers for machines."""
