"""The connection pool: its core with a fake driver, its engines on real databases, and faults of real servers."""
