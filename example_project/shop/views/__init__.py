"""The shop's views, by what they are for.

pages: public and the same for everybody. baskets, accounts: private. api: JSON. live: asynchronous. files: CSV out
and in. Each turns a request into calls of the modules beside this folder, and their answer into a response.
"""
