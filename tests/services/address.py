"""Addresses of servers, as they are written in the TEST_* variables. Connects to nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address; `database` may be empty."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """From `scheme://user:password@host:port/database`. Raises ValueError, without the password."""
        parts = urlsplit(url)
        default = {"postgres": 5432, "postgresql": 5432, "mysql": 3306, "redis": 6379, "rediss": 6379}.get(parts.scheme)
        if default is None or not parts.hostname:
            raise ValueError("write scheme://user:password@host:port/database, as in postgres://me@127.0.0.1/postgres")
        return cls(
            parts.scheme,
            parts.hostname,
            parts.port or default,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.strip("/"),
        )

    @property
    def url(self) -> str:
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login + '@' if login else ''}{host}:{self.port}/{self.database}"

    def with_database(self, name: str) -> Address:
        """The same server, another database."""
        return replace(self, database=name)
