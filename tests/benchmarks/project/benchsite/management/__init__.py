"""Management commands of the benchmark project."""
