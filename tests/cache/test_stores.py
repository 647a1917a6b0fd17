"""Every shared store keeps its promises: values, leases, and a log of purges that nothing is lost from unnoticed."""

from __future__ import annotations

import pickle
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.test import override_settings
from redis.sentinel import Sentinel

from django_wsgiperf.cache.serializers import RawBytes
from django_wsgiperf.cache.store import PurgeOrder, Purges, Store, StoreUnavailable
from django_wsgiperf.cache.stores import UnsuitableStore, open_store
from django_wsgiperf.cache.stores.alias import AliasStore
from django_wsgiperf.cache.stores.redis import RedisStore
from tests import services

from .fakes import Worker, eventually
from .private_redis import redis_caches

BUILT_IN = "django.core.cache.backends.redis.RedisCache"
RAW = {"OPTIONS": {"serializer": "django_wsgiperf.cache.serializers.RawBytes"}}
RAW_DJANGO_REDIS = {"OPTIONS": {"SERIALIZER": "django_wsgiperf.cache.serializers.RawBytes"}}
HUGE = 2**52


def _settings(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    prefix = {"KEY_PREFIX": secrets.token_hex(4)}
    if kind == "memory":
        backend = "django.core.cache.backends.locmem.LocMemCache"
        return {"pages": {"BACKEND": backend, "LOCATION": secrets.token_hex(4), "OPTIONS": {"MAX_ENTRIES": 10_000}}}
    if kind == "database":
        request.getfixturevalue("db")
        options = {"OPTIONS": {"MAX_ENTRIES": 10_000}}
        return {"pages": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "pages", **options}}
    url = request.getfixturevalue("redis_url")
    backend, options = {
        "django-redis": ("django_redis.cache.RedisCache", {}),
        "django": (BUILT_IN, {}),
        "alias": (BUILT_IN, {}),
        "raw alias": (BUILT_IN, RAW),
        "raw django-redis alias": ("django_redis.cache.RedisCache", RAW_DJANGO_REDIS),
    }[kind]
    return redis_caches(url, backend, **prefix, **options)


@pytest.fixture(
    params=["django-redis", "django", "alias", "raw alias", "raw django-redis alias", "memory", "database"],
)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    kind = request.param
    with override_settings(CACHES=_settings(kind, request)):
        if kind == "database":
            call_command("createcachetable", verbosity=0)
        store: Store = open_store("pages", timeout_s=5) if kind in ("django-redis", "django") else AliasStore("pages")
        assert isinstance(store, RedisStore) == (kind in ("django-redis", "django"))
        yield store
        store.close()
        caches["pages"].close()


def test_values_come_back_as_they_were(store: Store) -> None:
    # Some of them look like a number, or like a pickle, to serializers that guess.
    values = {"a": b"WPC\x01 page", "b": b"\x80\x05.", "c": b"x" * 100_000, "d": b"WPC 0"}
    for key, value in values.items():
        store.set(key, value, 60)
    assert store.fetch([*values, "missing"], 0)[0] == [*values.values(), None]


def test_a_deleted_value_is_gone(store: Store) -> None:
    store.set("a", b"WPC", 60)
    store.delete(["a", "b"])
    store.delete([])
    assert store.fetch(["a", "b"], 0)[0] == [None, None]


def test_a_lease_is_taken_once_and_given_back_by_its_owner_alone(store: Store) -> None:
    assert store.add("lease", b"L1", 60)
    assert not store.add("lease", b"L2", 60)
    store.delete_if("lease", b"L2")
    assert not store.add("lease", b"L2", 60)
    store.delete_if("lease", b"L1")
    assert store.add("lease", b"L2", 60)


def test_a_lease_is_taken_with_a_look_at_what_is_there(store: Store) -> None:
    number = store.purge(PurgeOrder(("a",)), 0).head
    store.set("page", b"WPC", 60)
    assert store.add_and_fetch("lease:a", b"mine", 60, ["page", "nothing"], number) == (True, [b"WPC", None], number)
    added, values, _ = store.add_and_fetch("lease:a", b"theirs", 60, ["lease:a"], number)
    assert (added, values) == (False, [b"mine"])


def test_values_are_kept_and_a_lease_is_given_back_by_its_owner_alone(store: Store) -> None:
    store.add("lease:a", b"mine", 60)
    store.set_and_delete_if([("a", b"one", 60), ("b", b"two", 60)], "lease:a", b"theirs")
    assert store.fetch(["a", "b", "lease:a"], 0)[0] == [b"one", b"two", b"mine"]
    store.set_and_delete_if([("a", b"three", 60)], "lease:a", b"mine")
    assert store.fetch(["a", "lease:a"], 0)[0] == [b"three", None]
    store.set_and_delete_if([("a", b"four", 60)], "", b"")
    assert store.fetch(["a"], 0)[0] == [b"four"]


def test_of_many_that_want_a_lease_one_gets_it(store: Store, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["store"] == "database":
        # One connection, and one transaction, for all that happens in the test.
        assert sum(store.add("lease", b"L%d" % number, 60) for number in range(8)) == 1
        return
    start = threading.Barrier(8)

    def work(number: int) -> bool:
        start.wait(20)
        got = store.add("lease", b"L%d" % number, 60)
        store.rest()
        return got

    workers = [Worker(lambda number=number: work(number)) for number in range(8)]  # type: ignore[misc]
    assert sum(worker.result() for worker in workers) == 1


def test_a_value_is_gone_after_its_time(store: Store) -> None:
    store.set("a", b"WPC", 0.01)
    eventually(lambda: store.fetch(["a"], 0)[0] == [None])


# -- the log of purges


def test_a_new_log_begins_above_all_that_was_known(store: Store) -> None:
    first = store.purges_since(0)
    assert first.head == first.hard_floor > 0
    assert store.purges_since(first.head).head == first.head
    assert store.purges_since(0) == first


def test_a_purge_is_news_to_all_who_do_not_know_it(store: Store) -> None:
    begin = store.purges_since(0).head
    told = store.purge(PurgeOrder(("a", "b")), begin)
    assert told.head > begin
    assert dict(told.hard) == {"a": told.head, "b": told.head}
    assert store.purges_since(begin).hard == told.hard
    assert store.fetch(["x"], begin)[1] == told.head
    assert store.fetch(["x"], told.head)[1] == told.head
    assert dict(store.purges_since(told.head).soft) == {}


def test_each_kind_of_purge_is_told_as_what_it_is(store: Store) -> None:
    begin = store.purges_since(0).head
    soft = store.purge(PurgeOrder(("a",), soft=True), begin)
    assert dict(soft.soft) == {"a": soft.head}
    all_soft = store.purge(PurgeOrder(everything=True, soft=True), soft.head)
    assert (all_soft.soft_floor, all_soft.hard_floor <= begin) == (all_soft.head, True)
    all_hard = store.purge(PurgeOrder(everything=True), all_soft.head)
    assert all_hard.hard_floor == all_hard.head
    fresh = store.purges_since(0)
    assert fresh.head == all_hard.head
    assert fresh.hard_floor == all_hard.head


def test_a_purge_tells_whoever_orders_it_what_else_has_happened(store: Store) -> None:
    begin = store.purges_since(0).head
    store.purge(PurgeOrder(("theirs",)), begin)
    told = store.purge(PurgeOrder(("ours",)), begin)
    assert set(told.hard) == {"theirs", "ours"}
    assert told.head == max(told.hard.values())


def test_tags_of_any_letters_come_back(store: Store) -> None:
    begin = store.purges_since(0).head
    tags = ("", "H", "#", "h", "s", "sh:1", "caf\xe9 \u2603", "\ud800", "a\nb", "x" * 500)
    store.purge(PurgeOrder(tags), begin)
    assert set(store.purges_since(0).hard) == set(tags)


def test_the_last_purge_of_a_tag_counts(store: Store) -> None:
    begin = store.purges_since(0).head
    first = store.purge(PurgeOrder(("a",)), begin)
    second = store.purge(PurgeOrder(("a",)), first.head)
    assert store.purges_since(begin).hard["a"] == second.head > first.head


def test_processes_that_purge_at_once_lose_none(store: Store, request: pytest.FixtureRequest) -> None:
    begin = store.purges_since(0).head
    start = threading.Barrier(6)
    threads = 1 if request.node.callspec.params["store"] == "database" else 6

    def work(seed: int) -> list[int]:
        known, numbers = begin, []
        if threads > 1:
            start.wait(20)
        for number in range(10):
            tag = f"{seed}-{number}"
            told = store.purge(PurgeOrder((tag,)), known)
            assert told.hard[tag] > known
            numbers.append(told.hard[tag])
            known = told.head
        store.rest() if threads > 1 else None
        return numbers

    if threads == 1:
        numbers = work(0)
    else:
        workers = [Worker(lambda seed=seed: work(seed)) for seed in range(threads)]  # type: ignore[misc]
        numbers = [number for worker in workers for number in worker.result()]
    assert len(set(numbers)) == len(numbers), "each purge has a number of its own"
    assert len(store.purges_since(begin).hard) == len(numbers)
    assert len(store.purges_since(0).hard) == len(numbers)


def test_a_log_that_ends_before_what_is_known_has_lost_its_memory(store: Store) -> None:
    begin = store.purges_since(0).head
    store.purge(PurgeOrder(("a",)), begin)
    told = store.purges_since(HUGE)
    assert told.head > HUGE
    assert told.hard_floor == told.head
    # And the others learn it too.
    assert store.purges_since(begin).hard_floor == told.head
    assert store.purges_since(0).hard_floor == told.head


def test_a_store_that_was_emptied_purges_everything(store: Store) -> None:
    begin = store.purges_since(0).head
    known = store.purge(PurgeOrder(("a",)), begin).head
    caches["pages"].clear()
    assert store.fetch(["x"], known)[1] is None
    told = store.purges_since(known)
    assert told.head > known
    assert told.hard_floor == told.head


def test_what_is_asked_long_after_is_told_or_taken_for_purged(store: Store) -> None:
    begin = store.purges_since(0).head
    known = begin
    for number in range(40):
        known = store.purge(PurgeOrder((f"t{number}",)), known).head
    told = store.purges_since(begin)
    assert told.head == known
    assert len(told.hard) == 40


# -- each kind by itself


def test_an_announcement_is_heard(redis_url: str) -> None:
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        store = open_store("pages", timeout_s=5)
        begin = store.purges_since(0).head
        subscription = store.listen()
        assert subscription is not None
        assert not subscription.wait(0)
        for number in range(3):
            store.purge(PurgeOrder((str(number),)), begin)
        assert subscription.wait(20)
        eventually(lambda: not subscription.wait(0))
        subscription.close()
        store.close()


def test_nobody_waits_for_announcements_once_the_subscription_is_closed(redis_url: str) -> None:
    """As when it is closed by another thread just before."""
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        store = open_store("pages", timeout_s=5)
        subscription = store.listen()
        assert subscription is not None
        subscription.close()
        with pytest.raises(StoreUnavailable):
            subscription.wait(20)
        store.close()


def test_sites_with_other_key_prefixes_do_not_purge_each_other(redis_url: str) -> None:
    heads = []
    for _ in range(2):
        with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
            store = open_store("pages", timeout_s=5)
            begin = store.purges_since(0).head
            store.set("a", b"WPC", 60)
            store.purge(PurgeOrder(("a",)), begin)
            heads.append(set(store.purges_since(0).hard))
            store.close()
    assert heads == [{"a"}, {"a"}]


def test_the_log_in_redis_is_bounded_and_forgets_on_the_safe_side(redis_url: str) -> None:
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        store = open_store("pages", timeout_s=5, max_tags=50)
        known = store.purges_since(0).head
        numbers = {}
        for number in range(200):
            soft = number % 3 == 0
            told = store.purge(PurgeOrder((f"t{number}",), soft=soft), known)
            numbers[f"t{number}"] = (soft, told.head)
            known = told.head
            fresh = store.purges_since(0)
            assert len(fresh.hard) + len(fresh.soft) <= 50
        for tag, (soft, number) in numbers.items():
            if soft:
                assert fresh.soft.get(tag, fresh.soft_floor) >= number
            else:
                assert fresh.hard.get(tag, fresh.hard_floor) >= number
        store.close()


def test_one_purge_of_more_tags_than_are_remembered_purges_all_that_was(redis_url: str) -> None:
    with override_settings(CACHES=redis_caches(redis_url, KEY_PREFIX=secrets.token_hex(4))):
        store = open_store("pages", timeout_s=5, max_tags=50)
        begin = store.purges_since(0).head
        told = store.purge(PurgeOrder(tuple(map(str, range(400)))), begin)
        fresh = store.purges_since(0)
        assert fresh.hard_floor == told.head == fresh.head
        store.close()


@pytest.fixture
def alias() -> Iterator[AliasStore]:
    """A log whose keys the test can take away, as Memcached does when it is full."""
    backend = "django.core.cache.backends.locmem.LocMemCache"
    location = {"LOCATION": secrets.token_hex(4), "OPTIONS": {"MAX_ENTRIES": 10_000}}
    with override_settings(CACHES={"pages": {"BACKEND": backend, **location}}):
        yield AliasStore("pages")


def _purge(store: Store, *tags: str) -> int:
    return store.purge(PurgeOrder(tags), 0).hard[tags[0]]


def test_a_record_dropped_from_the_log_purges_all_for_who_has_not_read_it(alias: AliasStore) -> None:
    begin = alias.purges_since(0).head
    first, second = _purge(alias, "a"), _purge(alias, "b")
    caches["pages"].delete(f"wsgiperf:purges:{first}")
    assert alias.purges_since(begin) == Purges(second, hard_floor=second)
    assert dict(alias.purges_since(first).hard) == {"b": second}
    fresh = alias.purges_since(0)
    assert (fresh.hard_floor, dict(fresh.hard)) == (first, {"b": second})


def test_a_head_that_lags_behind_loses_nothing(alias: AliasStore) -> None:
    begin = alias.purges_since(0).head
    first, second = _purge(alias, "a"), _purge(alias, "b")
    # Two purged at once, and the slower wrote last.
    caches["pages"].set("wsgiperf:purges", b"WPP\x01%d" % first)
    assert set(alias.purges_since(begin).hard) == {"a", "b"}
    assert alias.purges_since(second).head == second
    assert set(alias.purges_since(0).hard) == {"a", "b"}
    assert _purge(alias, "c") == second + 1


def test_a_record_of_another_version_purges_everything(alias: AliasStore) -> None:
    begin = alias.purges_since(0).head
    caches["pages"].set(f"wsgiperf:purges:{begin + 1}", b"WPP\x02?")
    caches["pages"].set("wsgiperf:purges", b"WPP\x01%d" % (begin + 1))
    assert alias.purges_since(begin).hard_floor == begin + 1
    assert alias.purges_since(0).hard_floor == begin + 1


def test_who_is_very_far_behind_takes_everything_for_purged(alias: AliasStore) -> None:
    begin = alias.purges_since(0).head
    for number in range(600):
        last = _purge(alias, str(number))
    told = alias.purges_since(begin)
    assert told.head == last
    assert told.hard_floor == last or len(told.hard) == 600
    fresh = alias.purges_since(0)
    assert fresh.hard_floor > begin
    assert fresh.head == last
    assert fresh.hard["599"] == last


def test_what_is_no_bytes_is_not_there(alias: AliasStore) -> None:
    caches["pages"].set("wsgiperf:a", "text")
    caches["pages"].set("wsgiperf:b", 17)
    assert alias.fetch(["a", "b"], 0)[0] == [None, None]


def test_whatever_a_backend_raises_is_a_store_out_of_order(alias: AliasStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise pickle.UnpicklingError("not ours")

    monkeypatch.setattr(type(caches["pages"]), "get_many", broken)
    with pytest.raises(StoreUnavailable, match="not ours"):
        alias.fetch(["a"], 0)


# -- which store an alias gets


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache"])
def test_aliases_of_no_use_beside_the_memory_are_refused_and_told_why(backend: str) -> None:
    with (
        override_settings(CACHES={"pages": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "/none"}}),
        pytest.raises(UnsuitableStore, match=r"CACHES\['pages'\] is a \w+Cache: it .*Redis, Memcached"),
    ):
        open_store("pages")


def test_a_derived_backend_is_refused_as_what_it_is_derived_from() -> None:
    with (
        override_settings(CACHES={"pages": {"BACKEND": f"{__name__}.OwnMemory"}}),
        pytest.raises(UnsuitableStore, match="is memory of this process alone"),
    ):
        open_store("pages")


def test_an_alias_that_is_not_there_is_named_with_those_that_are() -> None:
    with (
        override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}),
        pytest.raises(UnsuitableStore, match=r"CACHES\['pages'\] cannot be used.*There are: 'default'"),
    ):
        open_store("pages")


# django-redis warns of itself there.
@pytest.mark.filterwarnings("ignore:get on sharded client")
def test_redis_spread_over_several_servers_is_used_through_its_alias(redis_url: str) -> None:
    sharded = {"OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"}, "KEY_PREFIX": secrets.token_hex(4)}
    with override_settings(CACHES=redis_caches(redis_url, **sharded)):
        store = open_store("pages")
        assert isinstance(store, AliasStore)
        store.set("a", b"WPC", 60)
        assert store.fetch(["a"], 0)[0] == [b"WPC"]
        caches["pages"].client.close()


def test_time_outs_and_repeats_are_our_own(redis_url: str) -> None:
    slow = {"OPTIONS": {"SOCKET_TIMEOUT": 60, "CONNECTION_POOL_KWARGS": {"retry_on_timeout": True}}}
    with override_settings(CACHES=redis_caches(redis_url, **slow)):
        store = open_store("pages", timeout_s=0.125)
        assert isinstance(store, RedisStore)
        wire = store._connect()
        assert (wire.socket_timeout, wire.socket_connect_timeout) == (0.125, 0.125)
        assert not wire.retry_on_timeout


class OwnMemory(LocMemCache):
    """A project's own variant of Django's."""


# -- the serializer


@pytest.mark.parametrize("value", [b"", b"WPC", b"\x80\x05.", b"-", b"1x", 17, -3])
def test_bytes_and_numbers_pass_the_serializer_unchanged(value: Any) -> None:
    raw = RawBytes({"any": "options"})
    dumped = raw.dumps(value)
    assert dumped == value
    assert raw.loads(dumped if isinstance(dumped, bytes) else str(dumped).encode()) == value


@pytest.mark.parametrize("value", ["text", True, None, {"a": 1}, bytearray(b"x")])
def test_nothing_else_passes_the_serializer(value: object) -> None:
    with pytest.raises(TypeError, match="alias of CACHES of its own"):
        RawBytes().dumps(value)


# -- where connections lead


def test_addresses_come_from_sentinel_each_time_a_connection_is_made(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = services.Address.parse(redis_url)
    asked: list[str] = []

    def discover(_: Sentinel, name: str) -> tuple[str, int]:
        asked.append(name)
        return address.host, address.port

    monkeypatch.setattr(Sentinel, "discover_master", discover)
    options = {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": [("127.0.0.1", 1)],
        "PASSWORD": address.password or None,
    }
    location = f"redis://pages/{address.database}"
    with override_settings(CACHES=redis_caches(location, OPTIONS=options, KEY_PREFIX=secrets.token_hex(4))):
        store = open_store("pages", timeout_s=5)
        assert isinstance(store, RedisStore)
        store.set("a", b"WPC", 60)
        assert store.fetch(["a"], 0)[0] == [b"WPC"]
        assert asked == ["pages"]
        store.close()
        assert store.fetch(["a"], 0)[0] == [b"WPC"]
        assert asked == ["pages", "pages"]
        store.close()


def test_a_unix_socket_has_our_time_outs_too() -> None:
    with override_settings(CACHES=redis_caches("unix:///nowhere/redis.sock")):
        store = open_store("pages", timeout_s=0.125)
        assert isinstance(store, RedisStore)
        assert store._connect().socket_timeout == 0.125
        with pytest.raises(StoreUnavailable):
            store.fetch(["a"], 0)


def test_a_wrong_password_is_said_and_not_shown(redis_url: str) -> None:
    # In the address, since django-redis keeps its pools by that alone.
    url = replace(services.Address.parse(redis_url), password="wrong-secret").url
    with override_settings(CACHES=redis_caches(url)):
        store = open_store("pages", timeout_s=5)
        with pytest.raises(StoreUnavailable) as raised:
            store.fetch(["a"], 0)
        assert "wrong-secret" not in str(raised.value)
        assert str(raised.value)
