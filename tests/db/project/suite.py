"""What a project may expect of its engine, asked by its own tests with each of Django's test cases."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from django.db import DatabaseError, connection, connections, models, transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase
from django.test.testcases import DatabaseOperationForbidden

from tests.db.project.models import Entry, Part, Thing

BOTH = frozenset({"default", "other"})
WAIT_S = 30.0


def elsewhere(function: Callable[[], Any]) -> Any:
    """What a function gives, or raises, in another thread."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(WAIT_S)
    return outcome[0]


@contextlib.contextmanager
def undone(using: str = "default") -> Iterator[None]:
    """A transaction, or a savepoint, that ends with an error of the program."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=using):
        yield
        raise ZeroDivisionError


class RolledBack(TestCase):
    """Each test finds what setUpTestData has made, and nothing of another test."""

    databases = BOTH

    @classmethod
    def setUpTestData(cls) -> None:
        cls.thing = Thing.objects.create(name="lamp", stock=3)
        Entry.objects.create(text="made")

    def _change(self) -> None:
        assert (Thing.objects.count(), Entry.objects.count()) == (2, 1)
        Thing.objects.update(stock=models.F("stock") + 1)
        self.thing.parts.create()
        Entry.objects.all().delete()
        self.thing.refresh_from_db()
        assert self.thing.stock == 4

    def test_one_change(self) -> None:
        self._change()

    def test_same_change_again(self) -> None:
        self._change()

    def test_pages_see_what_the_test_has_made_and_leave_it_its_transaction(self) -> None:
        assert self.client.get("/page").content == b"lamp,migrated"
        assert b"".join(self.client.get("/streamed")) == b"lamp\nmigrated\n2"
        assert connection.in_atomic_block
        assert Entry.objects.count() == 2

    async def test_asynchronous_code_sees_it_too(self) -> None:
        names = [thing.name async for thing in Thing.objects.order_by("name")]
        assert names == ["lamp", "migrated"]
        answer = await self.async_client.get("/page")
        assert answer.content == b"lamp,migrated"

    def test_hooks_are_captured_and_savepoints_are_undone(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as hooks, transaction.atomic():
            transaction.on_commit(lambda: Thing.objects.create(name="hooked"))
        assert len(hooks) == 1
        with undone():
            Thing.objects.all().delete()
        assert Thing.objects.count() == 3


class OneDatabase(TestCase):
    """Django keeps tests off the databases that they do not name."""

    def test_other_database_is_out_of_bounds(self) -> None:
        with pytest.raises(DatabaseOperationForbidden):
            Entry.objects.count()


class Committed(TransactionTestCase):
    """What needs true transactions."""

    databases = BOTH

    def test_router_sends_each_model_home(self) -> None:
        entry, thing = Entry.objects.create(text="one"), Thing.objects.create(name="one")
        assert (entry._state.db, thing._state.db) == ("other", "default")
        tables = {alias: connections[alias].introspection.table_names() for alias in BOTH}
        assert "project_entry" in tables["other"]
        assert "project_entry" not in tables["default"]
        assert "project_thing" in tables["default"]
        assert "project_thing" not in tables["other"]
        with pytest.raises(DatabaseError):
            Thing.objects.using("other").count()

    def test_transactions_of_two_databases_are_apart(self) -> None:
        with undone():
            Thing.objects.create(name="undone")
            with transaction.atomic(using="other"):
                Entry.objects.create(text="kept")
        assert (Thing.objects.count(), Entry.objects.count()) == (0, 1)
        with undone("other"):
            Thing.objects.create(name="kept")
            Entry.objects.create(text="undone")
        assert (Thing.objects.count(), Entry.objects.count()) == (1, 1)

    def test_hooks_run_after_their_own_database_has_committed(self) -> None:
        seen: list[str] = []
        with transaction.atomic():
            with transaction.atomic(using="other"):
                transaction.on_commit(lambda: seen.append(f"other, {Entry.objects.count()}"), using="other")
                transaction.on_commit(lambda: seen.append(f"default, {elsewhere(Thing.objects.count)}"))
                Entry.objects.create(text="one")
            Thing.objects.create(name="one")
            seen.append("inside")
        with undone():
            transaction.on_commit(lambda: seen.append("never"))
        assert seen == ["other, 1", "inside", "default, 1"]

    def test_locked_row_is_locked_for_others_until_the_end(self) -> None:
        if not connection.features.has_select_for_update_nowait:
            assert not connection.features.has_select_for_update  # SQLite has no locks of rows.
            return
        Thing.objects.create(name="one")

        def lock() -> Any:
            with transaction.atomic():
                return Thing.objects.select_for_update(nowait=True).get().name

        with transaction.atomic():
            Thing.objects.select_for_update().get()
            assert isinstance(elsewhere(lock), DatabaseError)
        assert elsewhere(lock) == "one"
        with pytest.raises(transaction.TransactionManagementError):
            Thing.objects.select_for_update().get()

    def test_rows_are_iterated_inside_and_outside_of_transactions_and_beside_other_queries(self) -> None:
        Thing.objects.bulk_create(Thing(name=f"{number:03}") for number in range(50))
        for rows in (Thing.objects.order_by("name").iterator(chunk_size=7), Thing.objects.order_by("name")):
            names = []
            for thing in rows:
                names.append(thing.name)
                assert Part.objects.filter(thing=thing).count() == 0
            assert names == [f"{number:03}" for number in range(50)]
        with transaction.atomic():
            rows = Thing.objects.order_by("name").iterator(chunk_size=7)
            next(rows)
            Thing.objects.filter(name="049").update(stock=1)
            assert sum(1 for _ in rows) == 49
        assert Thing.objects.get(name="049").stock == 1

    def test_wrappers_see_each_statement_of_their_thread(self) -> None:
        seen: list[str] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
            seen.append(context["connection"].alias)
            return execute(sql, params, many, context)

        for alias in BOTH:
            connections[alias].ensure_connection()
        with connection.execute_wrapper(note), connections["other"].execute_wrapper(note):
            Thing.objects.count()
            Entry.objects.count()
            elsewhere(Thing.objects.count)
        Thing.objects.count()
        assert seen == ["default", "other"]

    def test_deleted_with_what_refers_to_it_and_refused_without(self) -> None:
        thing = Thing.objects.create(name="one")
        thing.parts.create()
        with pytest.raises(DatabaseError), transaction.atomic():
            Part.objects.create(thing_id=thing.pk + 1000)
        assert thing.delete()[0] == 2


class Restored(TransactionTestCase):
    """What migrations have made is there again after others have emptied the tables."""

    databases = BOTH
    serialized_rollback = True

    def test_migrated_row_is_there(self) -> None:
        assert Thing.objects.get().parts.count() == 1


class Live(LiveServerTestCase):
    """Requests in other threads, as a browser makes them."""

    databases = BOTH

    def test_pages_are_served_from_what_the_test_has_made(self) -> None:
        # What migrations have made is there until the first of these cases has ended.
        Thing.objects.all().delete()
        Thing.objects.create(name="lamp")
        for number in range(1, 6):
            with urlopen(f"{self.live_server_url}/page", timeout=WAIT_S) as answer:
                assert answer.read() == b"lamp"
            with urlopen(f"{self.live_server_url}/streamed", timeout=WAIT_S) as answer:
                assert answer.read() == f"lamp\n{number}".encode()
        assert Entry.objects.count() == 5
