"""The store in Redis or Valkey, by the connection of an alias in CACHES: django-redis, or Django's own backend.

A row is a hash of its own; sorted sets by start say which there are, and which are not rolled, so that nothing is ever
searched for. Rows expire by themselves, some time after they would have been trimmed. Changes of several keys are
transactions that fail when somebody changed one of them meanwhile; a reader sees by a counter whether one came between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from redis import RedisError, WatchError

from .base import LEVELS, PARTS, Extent, Part, Report, Row, StoreError, rolled
from .redis_client import client_of

if TYPE_CHECKING:
    from django_wsgiperf.conf import MetricsSettings

_BATCH: Final = 100
_LOOKS: Final = 5
"""So often a reader looks again when rows were folded while it read."""
_SLACK_S: Final = 86_400
_FIELDS: Final = ("host", "rolled", "closed", "version")

_WRITE: Final = """
if redis.call('HGET', KEYS[1], 'rolled') == '1' then return 0 end
redis.call('HSET', KEYS[1], 'host', ARGV[3], 'rolled', '0', 'closed', ARGV[4], 'version', ARGV[5],
           'summary', ARGV[6], 'detail', ARGV[7], 'samples', ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[2])
return 1
"""
_LEASE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class RedisStore:
    """Rows of bytes under one prefix, in one slot of a cluster."""

    def __init__(self, settings: MetricsSettings) -> None:
        from django_wsgiperf.metrics.rollup import retention_s

        self._alias = settings.cache
        self._client, prefix = client_of(settings.cache)
        self._prefix = f"{{{prefix}wsgiperf:metrics}}:"
        self._kept_s = {level: retention_s(settings, level) + _SLACK_S for level in LEVELS}

    # -- keys

    def _row_key(self, level: int, start: int, owner: str) -> str:
        return f"{self._prefix}row:{level}:{start}:{owner}"

    def _all(self, level: int) -> str:
        return f"{self._prefix}all:{level}"

    def _open(self, level: int) -> str:
        return f"{self._prefix}open:{level}"

    @property
    def _folds(self) -> str:
        return f"{self._prefix}folds"

    # -- rows

    def write(self, rows: Sequence[Row]) -> None:
        with self._translated():
            pipe = self._client.pipeline(transaction=False)
            for row in rows:
                pipe.eval(
                    _WRITE,
                    3,
                    self._row_key(0, row.start, row.owner),
                    self._all(0),
                    self._open(0),
                    row.start,
                    _member(row),
                    row.host,
                    int(row.closed),
                    row.version,
                    row.summary,
                    row.detail,
                    row.samples,
                    self._kept_s[0],
                )
            pipe.execute()

    def read(self, extents: Sequence[Extent], parts: Sequence[Part], host: str = "") -> Iterable[Row]:
        with self._translated():
            for _ in range(_LOOKS):
                before = self._client.get(self._folds)
                rows = self._rows(self._members(extents), parts)
                if self._client.get(self._folds) == before:
                    break
        return [row for row in rows if not host or row.host == host]

    def _members(self, extents: Sequence[Extent]) -> list[tuple[int, bytes]]:
        """(level, member) of the rows of all extents, each once."""
        pipe = self._client.pipeline(transaction=True)
        levels: list[int] = []
        for extent in extents:
            for level in LEVELS:
                if level <= extent.level:
                    name = self._all(level) if level == extent.level else self._open(level)
                    pipe.zrangebyscore(name, extent.begin, f"({extent.end}")
                    levels.append(level)
        found = pipe.execute() if levels else []
        return list(
            dict.fromkeys((level, member) for level, members in zip(levels, found, strict=True) for member in members)
        )

    def _rows(self, members: Sequence[tuple[int, bytes]], parts: Sequence[Part]) -> list[Row]:
        rows: list[Row] = []
        for at in range(0, len(members), _BATCH):
            batch = members[at : at + _BATCH]
            pipe = self._client.pipeline(transaction=True)
            for level, member in batch:
                pipe.hmget(self._key_of(level, member), (*_FIELDS, *parts))
            for (level, member), values in zip(batch, pipe.execute(), strict=True):
                row = _row(level, member, values, parts)
                if row is not None:
                    rows.append(row)
        return rows

    def _key_of(self, level: int, member: bytes) -> bytes:
        return f"{self._prefix}row:{level}:".encode() + member

    def unrolled(self, level: int, before: int, limit: int, *, closed: bool, skip: int = 0) -> list[Row]:
        with self._translated():
            found: list[Row] = []
            at = 0
            while len(found) < skip + limit:
                members = self._client.zrangebyscore(self._open(level), "-inf", f"({before}", at, limit)
                rows = self._rows([(level, member) for member in members], PARTS)
                found += [row for row in rows if row.closed == closed and not row.rolled]
                at += limit
                if len(members) < limit:
                    break
            return found[skip : skip + limit]

    def at(self, level: int, start: int) -> list[Row]:
        with self._translated():
            members = self._client.zrangebyscore(self._all(level), start, start)
            return self._rows([(level, member) for member in members], PARTS)

    def fold(self, put: Sequence[Row], taken: Sequence[Row]) -> bool:
        with self._translated():
            pipe = self._client.pipeline(transaction=True)
            try:
                pipe.watch(*(self._row_key(*row.key) for row in (*put, *taken)))
                for row in put:
                    version, _ = self._state(pipe, row)
                    if version != row.version:
                        return False
                for row in taken:
                    version, is_rolled = self._state(pipe, row)
                    if version != row.version or is_rolled or not version:
                        return False
                pipe.multi()
                for row in put:
                    self._put(pipe, row)
                for row in taken:
                    self._take(pipe, row)
                pipe.incr(self._folds)
                pipe.execute()
            except WatchError:
                return False
            finally:
                pipe.reset()
            return True

    def _state(self, pipe: Any, row: Row) -> tuple[int, bool]:
        version, is_rolled = pipe.hmget(self._row_key(*row.key), ("version", "rolled"))
        return int(version or 0), is_rolled == b"1"

    def _put(self, pipe: Any, row: Row) -> None:
        key = self._row_key(*row.key)
        pipe.hset(
            key,
            mapping={
                "host": row.host,
                "rolled": int(row.rolled),
                "closed": 1,
                "version": row.version + 1,
                "summary": row.summary,
                "detail": row.detail,
                "samples": row.samples,
            },
        )
        pipe.expire(key, self._kept_s[row.level])
        pipe.zadd(self._all(row.level), {_member(row): row.start})
        if not row.rolled:
            pipe.zadd(self._open(row.level), {_member(row): row.start})

    def _take(self, pipe: Any, row: Row) -> None:
        left = rolled(row)
        changed: dict[str, Any] = {"rolled": 1}
        changed.update({part: b"" for part in PARTS if not getattr(left, part)})
        pipe.hset(self._row_key(*row.key), mapping=changed)
        pipe.zrem(self._open(row.level), _member(row))

    def trim(self, level: int, before: int, limit: int, *, samples_only: bool = False) -> int:
        with self._translated():
            if samples_only:
                return self._trim_samples(level, before, limit)
            members = self._client.zrangebyscore(self._all(level), "-inf", f"({before}", 0, limit)
            if level != LEVELS[-1]:
                scores = [self._client.zscore(self._open(level), member) for member in members]
                members = [member for member, score in zip(members, scores, strict=True) if score is None]
            if members:
                pipe = self._client.pipeline(transaction=True)
                pipe.unlink(*(self._key_of(level, member) for member in members))
                pipe.zrem(self._all(level), *members)
                pipe.zrem(self._open(level), *members)
                pipe.execute()
            return len(members)

    def _trim_samples(self, level: int, before: int, limit: int) -> int:
        """From where it ended the last time on, so that what has none is not looked at again."""
        mark = f"{self._prefix}trimmed:{level}"
        since = int(self._client.get(mark) or 0)
        members = self._client.zrangebyscore(self._all(level), since, f"({before}", 0, limit)
        if not members:
            return 0
        pipe = self._client.pipeline(transaction=True)
        for member in members:
            pipe.hset(self._key_of(level, member), "samples", b"")
        last = int(members[-1].split(b":", 1)[0])
        pipe.set(mark, last + 1 if len(members) < limit else max(last, since + 1))
        pipe.execute()
        return len(members)

    # -- leases

    def lease(self, name: str, owner: str, now: int, ttl_s: int) -> bool:
        with self._translated():
            return bool(self._client.eval(_LEASE, 1, f"{self._prefix}lease:{name}", owner, ttl_s * 1000))

    # -- processes

    def report(self, report: Report) -> None:
        with self._translated():
            key = f"{self._prefix}process:{report.instance}"
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(key, mapping={"host": report.host, "seen": report.seen, "report": report.report})
            pipe.expire(key, 7200)
            pipe.zadd(f"{self._prefix}processes", {report.instance: report.seen})
            pipe.execute()

    def remove(self, instance: str) -> None:
        with self._translated():
            pipe = self._client.pipeline(transaction=True)
            pipe.unlink(f"{self._prefix}process:{instance}")
            pipe.zrem(f"{self._prefix}processes", instance)
            pipe.execute()

    def reports(self, seen_since: int) -> list[Report]:
        with self._translated():
            instances = [
                each.decode() for each in self._client.zrangebyscore(f"{self._prefix}processes", seen_since, "+inf")
            ]
            pipe = self._client.pipeline(transaction=True)
            for instance in instances:
                pipe.hmget(f"{self._prefix}process:{instance}", ("host", "seen", "report"))
            found = pipe.execute() if instances else []
            return [
                Report(instance, host.decode(), int(seen), report)
                for instance, (host, seen, report) in zip(instances, found, strict=True)
                if host is not None and seen is not None and report is not None
            ]

    def forget_reports(self, seen_before: int) -> None:
        with self._translated():
            # Their keys expire by themselves.
            self._client.zremrangebyscore(f"{self._prefix}processes", "-inf", f"({seen_before}")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise StoreError(f"Redis of the cache {self._alias!r}: {error or type(error).__name__}") from error


def _member(row: Row) -> bytes:
    return f"{row.start}:{row.owner}".encode()


def _row(level: int, member: bytes, values: Sequence[bytes | None], parts: Sequence[Part]) -> Row | None:
    """None when it has expired."""
    host, is_rolled, closed, version = values[: len(_FIELDS)]
    if host is None or version is None:
        return None
    start, owner = member.decode().split(":", 1)
    read: dict[str, Any] = {part: data or b"" for part, data in zip(parts, values[len(_FIELDS) :], strict=True)}
    return Row(level, int(start), owner, host.decode(), is_rolled == b"1", closed == b"1", int(version), **read)
