"""What `tests/run.py` is made of: standard library only, so that it works before anything is installed.

cli.py decides and reports; interpreters.py, environments.py and installing.py find Pythons and fill virtual
environments; provide.py and debian.py get the servers that the tests need, servers.py starts private ones by
recipes.py in a place.py; steps.py lists what is run; lanes.py, execution.py and processes.py run it; results.py (a
pytest plugin) counts; terminal.py prints. Only cli.py knows all the others.
"""
