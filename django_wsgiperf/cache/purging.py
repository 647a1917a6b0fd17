"""Purging pages by address, by tag, or all of them; and a model's pages whenever one of its rows is saved.

In this process a purge holds when it is made; other processes that share a store hear of it within moments, and a page
that is being made from older data is never kept after it. Without a store, the processes of this host are told one by
one. Within a transaction it waits for the commit: until then others see the old data, and would make the old page
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from . import committing, neighbours, runtime
from .addresses import tags_for, target_of
from .annotations import check_tag
from .engine import Engine
from .policy.invalidation import Target


@dataclass(slots=True)
class Purged:
    """How a purge went, or that it waits for the end of a transaction."""

    deferred: bool = False
    """It is made at the commit, if there is one."""
    everywhere: bool = False
    """All processes that share the store will hear of it, or all of this host have, where there is none. Where it is
    false although the purge was made, the store was out of order, and it is passed on when it is back; or a process did
    not answer."""


def purge(
    url: str | None = None,
    urls: Iterable[str] = (),
    tags: Iterable[str] = (),
    *,
    soft: bool = False,
    on_commit: bool = True,
    using: str | None = None,
) -> Purged:
    """Purge pages by their addresses and tags. `soft` makes them stale instead: they may still be used while a new one
    is made, where their swr allows that.

    An address is `https://shop.example/books/?page=2`, or `/books/?page=2` for all hosts. Within a transaction of the
    database `using`, the default one unless given, it waits for the commit, unless `on_commit` is false; within one
    that is managed by hand, under set_autocommit(False), it is made at once and again at commit(). Raises ValueError
    and TypeError for what is no address and no tag."""
    if isinstance(urls, str) or isinstance(tags, str):
        raise TypeError("urls and tags are lists of texts: write purge(tags=['book:1']), or purge(url='/books/')")
    addresses = ([] if url is None else [url]) + list(urls)
    targets = list(map(target_of, addresses))
    wanted = list(map(check_tag, tags))
    if not targets and not wanted:
        return Purged(everywhere=True)

    def order(engine: Engine) -> bool:
        everywhere = engine.tags.purge([*wanted, *tags_of_targets(engine, targets)], soft=soft).everywhere
        if engine.store is None:
            return neighbours.tell({"urls": addresses, "tags": wanted, "soft": soft})
        return everywhere

    return _carry_out(order, on_commit, using)


def tags_of_targets(engine: Engine, targets: Iterable[Target]) -> list[str]:
    """The tags that stand for these addresses."""
    found: list[str] = []
    for target in targets:
        found += tags_for(engine.site.keys, target, engine.shelf.searches.of_target(target))
    return found


def purge_all(*, soft: bool = False, on_commit: bool = True, using: str | None = None) -> Purged:
    """Purge every page; as purge()."""

    def order(engine: Engine) -> bool:
        everywhere = engine.tags.purge(everything=True, soft=soft).everywhere
        return neighbours.tell({"all": True, "soft": soft}) if engine.store is None else everywhere

    return _carry_out(order, on_commit, using)


def _carry_out(order: Callable[[Engine], bool], on_commit: bool, using: str | None) -> Purged:
    engine = runtime.engine()
    if engine is None:
        return Purged(everywhere=True)
    if not on_commit or not committing.is_in_transaction(using):
        return Purged(everywhere=order(engine))
    done = Purged(deferred=True)

    def later() -> None:
        done.everywhere = order(engine)

    if committing.is_managed_by_hand(using):
        # Now as well: there are ways to end such a transaction that nobody is told of.
        order(engine)
        committing.at_commit_by_hand(later, using)
    else:
        transaction.on_commit(later, using=using)
    return done


def model_tags(instance: Model, model: type[Model] | None = None) -> tuple[str, str]:
    """The tags of a row unless others are given: `shop.book`, of every page with books, and `shop.book:7`. `model` is
    the one that they are named for, where the row is of a proxy or a child of it."""
    label = (model or type(instance))._meta.label_lower
    return label, f"{label}:{instance.pk}"


def purge_on_save(
    model: type[Model], tags: Callable[[Any], Iterable[str]] = model_tags, *, soft: bool = False
) -> Callable[[], None]:
    """From now on, saving or deleting a row of the model purges the pages with its tags, when the transaction is
    committed; also where it is done by a proxy of the model or a child of it. What bulk operations, many-to-many
    relations and raw SQL change is not noticed: purge() is for that. Gives a function that ends it. Best called in
    AppConfig.ready(), when all models are known. Raises TypeError for what is no model and no function; so does the
    saving of a row whose tags are no list of texts."""
    if not hasattr(model, "_meta"):
        raise TypeError(f"a model is a class, not {model!r}: write purge_on_save(Book)")
    if not callable(tags):
        raise TypeError(f"tags is a function of what was saved, not {tags!r}: write tags=lambda book: ['books']")
    tags_of = partial(model_tags, model=model) if tags is model_tags else tags

    def changed(sender: object, instance: Model, using: str | None = None, raw: bool = False, **_: object) -> None:
        if not raw:
            purge(tags=tags_of(instance), soft=soft, using=using)

    identity = f"django_wsgiperf.cache:{model._meta.label}:{id(tags)}:{soft}"
    # Each by itself: to listen to all models would cost them their fast deletes.
    senders = tuple(_kinds_of(model))
    for signal in (post_save, post_delete):
        for sender in senders:
            signal.connect(changed, sender=sender, weak=False, dispatch_uid=identity)

    def disconnect() -> None:
        for signal in (post_save, post_delete):
            for sender in senders:
                signal.disconnect(sender=sender, dispatch_uid=identity)

    return disconnect


def _kinds_of(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies and its children: Django's signals name the class by which a row is saved."""
    yield model
    for kind in model.__subclasses__():
        yield from _kinds_of(kind)
