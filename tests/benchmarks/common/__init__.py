"""What every benchmark here shares: the program and its report, results, load from wrk, statistics, the machine.

Nothing here knows what is measured. program.py knows all the others; results.py keeps what report.py and page.py show.
Tested in tests/benchmarks/test_common.py and test_program.py.
"""
