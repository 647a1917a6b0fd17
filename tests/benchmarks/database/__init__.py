"""How fast database connections come and go: stock ways, other pools and ours, side by side in one run.

`python -m tests.benchmarks.database --help`. setups.py lists who takes part, scenarios.py what is measured under
`serve`, inprocess.py what is measured without a server; docs/benchmarks.md shows the results.
"""
