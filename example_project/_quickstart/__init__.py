"""What `quickstart.py` does, step by step, with the standard library alone.

interpreters finds a Python, environment makes .venv, shop fills the database, serving serves and checks it, and cli
puts them in order. terminal is how all of them speak.
"""
