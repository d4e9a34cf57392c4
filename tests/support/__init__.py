"""Test machinery: a PostgreSQL to break, a proxy to cut, an oracle outside the database, workers to kill, a checker.

Nothing here imports asyncjobs: what judges the core must not rest on it.
"""
