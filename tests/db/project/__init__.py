"""A small project on two databases, for what only a project shows: manage.py, routers, migrations, Django's test cases.

test_project.py runs it in processes of its own; suite.py is its test suite, for Django's runner and not for pytest.
"""
