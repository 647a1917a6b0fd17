"""Django's own tests, run with Django's engine and with ours, and compared test by test.

`python -m tests.django_suite --help`. source.py gets Django's tests, engines.py says what is compared, running.py
runs them in a process of their own (suite_settings.py and recorder.py are loaded there), comparing.py judges.
"""
