"""The performance page in the admin: what the measurements say, in words, numbers, charts and tables.

Reads metrics/query.py, conf.py, the checks and the response cache; nothing here measures or stores. Data flows from
there through findings, tiles, series and panels (plain functions) to the screens in views.py and their templates.
"""
