"""The store in a database, by Django's ORM: PostgreSQL, MySQL, MariaDB, SQLite, whatever the alias is.

Writing has a connection of its own, which is closed again (or goes back to its pool): the caller may be a request in a
transaction, and a thread without requests would keep it for ever. Reading uses the caller's. Nothing waits long for a
lock: what could not be written is written the next time, and a page that cannot be read says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils.connection import ConnectionDoesNotExist

from django_wsgiperf.models import Bucket, Lease, Process

from .base import EMPTIED, LEVELS, PARTS, Extent, Part, Report, Row, StoreError

_LOCK_S: Final = 2
"""Waited for a lock at most, where the database can be told so."""
_READ_S: Final = 20
"""Waited for a statement of a page at most, where the database can be told so. Its script waits for 30 seconds."""
_KEYS: Final = ("level", "start", "owner", "host", "rolled", "closed", "version")


class _Conflict(Exception):
    """Somebody was there before: what was begun is undone."""


class DatabaseStore:
    """Rows of models.Bucket in the database `alias`. `own_connection` False: write on the caller's, as tests want."""

    def __init__(self, alias: str, *, own_connection: bool = True) -> None:
        self._alias = alias
        self._own_connection = own_connection

    # -- rows

    def write(self, rows: Sequence[Row]) -> None:
        with self._writing():
            for row in rows:
                values: dict[str, Any] = {
                    "closed": row.closed,
                    "version": row.version,
                    "summary": row.summary,
                    "detail": row.detail,
                    "samples": row.samples,
                }
                mine = self._buckets().filter(level=0, start=row.start, owner=row.owner)
                if not mine.filter(rolled=False).update(**values) and not mine.exists():
                    # Nobody else makes a row of this owner.
                    mine.create(level=0, start=row.start, owner=row.owner, host=row.host, **values)

    def read(self, extents: Sequence[Extent], parts: Sequence[Part], host: str = "") -> Iterable[Row]:
        if not extents:
            return []
        wanted = Q()
        for extent in extents:
            within = Q(start__gte=extent.begin, start__lt=extent.end)
            wanted |= Q(level=extent.level) & within
            # Both ways of an OR are found by an index.
            wanted |= Q(rolled=False, level__lt=extent.level) & within
        with self._reading():
            # One statement, and so one moment.
            return _rows(self._buckets().filter(wanted, **({"host": host} if host else {})), parts)

    def unrolled(self, level: int, before: int, limit: int, *, closed: bool, skip: int = 0) -> list[Row]:
        with self._writing():
            found = self._buckets().filter(rolled=False, level=level, start__lt=before, closed=closed)
            return _rows(found.order_by("start", "owner")[skip : skip + limit], PARTS)

    def at(self, level: int, start: int) -> list[Row]:
        with self._writing():
            return _rows(self._buckets().filter(level=level, start=start), PARTS)

    def fold(self, put: Sequence[Row], taken: Sequence[Row]) -> bool:
        try:
            with self._writing(conflicts=True):
                for row in put:
                    self._put(row)
                for row in taken:
                    there = self._buckets().filter(
                        level=row.level, start=row.start, owner=row.owner, version=row.version, rolled=False
                    )
                    lost: dict[str, Any] = dict.fromkeys(EMPTIED.get(row.level, ()), b"")
                    if there.update(rolled=True, **lost) != 1:
                        raise _Conflict
        except (_Conflict, IntegrityError):
            return False
        return True

    def _put(self, row: Row) -> None:
        values: dict[str, Any] = {"summary": row.summary, "detail": row.detail, "samples": row.samples}
        if row.version:
            there = self._buckets().filter(
                level=row.level, start=row.start, owner=row.owner, version=row.version, rolled=row.rolled
            )
            if there.update(version=F("version") + 1, **values) != 1:
                raise _Conflict
        else:
            self._buckets().create(
                level=row.level,
                start=row.start,
                owner=row.owner,
                host=row.host,
                rolled=row.rolled,
                closed=True,
                version=1,
                **values,
            )

    def trim(self, level: int, before: int, limit: int, *, samples_only: bool = False) -> int:
        with self._writing():
            old = self._buckets().filter(level=level, start__lt=before)
            if samples_only:
                old = old.exclude(samples=b"")
            elif level != LEVELS[-1]:
                old = old.filter(rolled=True)
            ids = list(old.values_list("pk", flat=True)[:limit])
            if ids:
                chosen = self._buckets().filter(pk__in=ids)
                if samples_only:
                    chosen.update(samples=b"")
                else:
                    chosen._raw_delete(self._alias)
            return len(ids)

    # -- leases

    def lease(self, name: str, owner: str, now: int, ttl_s: int) -> bool:
        leases = Lease.objects.using(self._alias).filter(name=name)
        # One that lasts longer than any does was given by a clock that was wrong.
        free = Q(owner=owner) | Q(until__lte=now) | Q(until__gt=now + 10 * ttl_s)
        try:
            with self._writing(conflicts=True):
                if leases.filter(free).update(owner=owner, until=now + ttl_s):
                    return True
                if leases.exists():
                    return False
                leases.create(name=name, owner=owner, until=now + ttl_s)
                return True
        except IntegrityError:
            return False  # Another process made it just now.

    # -- processes

    def report(self, report: Report) -> None:
        with self._writing():
            values: dict[str, Any] = {"host": report.host, "seen": report.seen, "report": report.report}
            mine = self._processes().filter(instance=report.instance)
            if not mine.update(**values) and not mine.exists():
                mine.create(instance=report.instance, **values)

    def remove(self, instance: str) -> None:
        with self._writing():
            self._processes().filter(instance=instance).delete()

    def reports(self, seen_since: int) -> list[Report]:
        with self._reading():
            found = self._processes().filter(seen__gte=seen_since).order_by("instance")
            return [
                Report(instance, host, seen, bytes(report))
                for instance, host, seen, report in found.values_list("instance", "host", "seen", "report")
            ]

    def forget_reports(self, seen_before: int) -> None:
        with self._writing():
            self._processes().filter(seen__lt=seen_before).delete()

    # -- connections and errors

    def _buckets(self) -> QuerySet[Bucket]:
        return Bucket.objects.using(self._alias)

    def _processes(self) -> QuerySet[Process]:
        return Process.objects.using(self._alias)

    @contextlib.contextmanager
    def _writing(self, *, conflicts: bool = False) -> Iterator[None]:
        """A transaction on a connection of this store's own, which takes the place of the caller's meanwhile.

        With `conflicts` an IntegrityError is the caller's to handle."""
        own = _swapped(self._alias) if self._own_connection else contextlib.nullcontext()
        with self._translated(conflicts), own, transaction.atomic(self._alias):
            if connections[self._alias].vendor == "postgresql":
                with connections[self._alias].cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
            yield

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """On the caller's connection, in whose transaction nothing stays of the limit."""
        with self._translated(), _limited(self._alias, _READ_S):
            yield

    @contextlib.contextmanager
    def _translated(self, conflicts: bool = False) -> Iterator[None]:
        try:
            yield
        except Error as error:
            if conflicts and isinstance(error, IntegrityError):
                raise
            raise StoreError(f"the database {self._alias!r}: {_reason(error)}") from error
        except (ImproperlyConfigured, ConnectionDoesNotExist) as error:
            raise StoreError(
                f"the database {self._alias!r}: {error} Set DATABASES, or METRICS[DATABASE] to an alias in it, or "
                "METRICS[STORE] to 'redis' or 'memory'"
            ) from error


@contextlib.contextmanager
def _limited(alias: str, seconds: float) -> Iterator[None]:
    """Statements that read take no longer than this. Others have no limit, nor do other databases."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with transaction.atomic(alias):
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {seconds * 1000:.0f}")
            yield
            # Nothing was written, and the caller's transaction, if this is within one, has its own limit again.
            transaction.set_rollback(True, alias)
    elif connection.vendor == "mysql":
        before, after = "SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({seconds * 1000:.0f}) */"
        if getattr(connection, "mysql_is_mariadb", False):
            after = f"SET STATEMENT max_statement_time={seconds:g} FOR SELECT"
        with connection.execute_wrapper(
            lambda execute, sql, params, many, context: execute(sql.replace(before, after, 1), params, many, context)
        ):
            yield
    else:
        yield


@contextlib.contextmanager
def _swapped(alias: str) -> Iterator[None]:
    """The calling thread's connection is another one meanwhile, which is closed in the end."""
    mine = connections.create_connection(alias)
    if mine.vendor == "sqlite":
        options = {**mine.settings_dict["OPTIONS"], "timeout": _LOCK_S}
        if mine.settings_dict["OPTIONS"].get("transaction_mode") is None:
            # To read first and write then would fail when another process has written in between.
            options["transaction_mode"] = "IMMEDIATE"
        # With other options it would have a pool of its own beside the project's, for a file that is quickly opened.
        mine.settings_dict = {**mine.settings_dict, "OPTIONS": options, "POOL": False}
    theirs = getattr(connections._connections, alias, None)  # type: ignore[attr-defined]
    connections[alias] = mine
    try:
        yield
    finally:
        if theirs is None:
            del connections[alias]
        else:
            connections[alias] = theirs
        mine.close()


def _rows(found: QuerySet[Bucket], parts: Sequence[Part]) -> list[Row]:
    names = (*_KEYS, *parts)
    count = len(_KEYS)
    rows = []
    for values in found.values_list(*names):
        read: dict[str, Any] = dict(zip(parts, map(bytes, values[count:]), strict=True))
        rows.append(Row(*values[:count], **read))
    return rows


def _reason(error: Error) -> str:
    """What the database said, and what to do where the reason is known."""
    text = " ".join(str(error).split()) or type(error).__name__
    missing = ("no such table", "does not exist", "doesn't exist", "no such column", "unknown column")
    if "wsgiperf_" in text and any(sign in text.lower() for sign in missing):
        return f"{text} (run `manage.py migrate django_wsgiperf`)"
    return text
