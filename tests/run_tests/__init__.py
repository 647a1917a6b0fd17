"""The runner's own tests: what tests/run.py, its helpers, the services and the fixtures do when things go wrong."""
