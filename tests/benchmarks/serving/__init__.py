"""`serve` beside its peers and beside the limit: `python -m tests.benchmarks.serving` from the repository's root.

`servers` says how each is started, `load` and `openloop` make the load, `scenarios` turn it into measurements,
`targets` judge them and `report` writes them down. Data flows in that order; `__main__` joins them.
"""
