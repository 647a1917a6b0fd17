"""Statements on PostgreSQL and MariaDB, each on a connection of its own. Knows no services: an address is enough."""

from __future__ import annotations

import contextlib

from tests.services.address import Address

CONNECT_LIMIT_S = 5


def drop_database(server: Address, name: str) -> None:
    """Drop a database, if it exists, with whoever is still connected to it."""
    force = "" if server.scheme == "mysql" else " WITH (FORCE)"
    execute(server, f"DROP DATABASE IF EXISTS {name}{force}")


def execute(server: Address, statement: str) -> str:
    """Run one statement outside a transaction; the first value of its first row, if it has one."""
    if server.scheme == "mysql":
        import MySQLdb

        login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        with contextlib.closing(
            MySQLdb.connect(**login, connect_timeout=CONNECT_LIMIT_S, charset="utf8mb4")
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    else:
        import psycopg

        url = server.with_database(server.database or "postgres").url
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_LIMIT_S) as connection:
            # The names in the statements are our own.
            executed = connection.execute(statement.encode())
            row = executed.fetchone() if executed.description else None
    return str(row[0]) if row else ""
