"""What every benchmark here shares: starting processes, load from wrk, statistics over rounds, tables, the machine.

Nothing here knows what is measured. Tested in tests/benchmarks/test_common.py.
"""
