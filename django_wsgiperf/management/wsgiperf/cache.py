"""`manage.py wsgiperf cache`: what the caches of this host's processes hold and do, or all about one address."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from django.core.management.base import BaseCommand, CommandError

from . import FINDINGS, UsageError
from ._processes import ask_caches

if TYPE_CHECKING:
    from django_wsgiperf.cache.engine import Engine
    from django_wsgiperf.cache.policy import Target

help = "Show what the response cache holds and does, or explain it for one address."
examples = """\
examples:
  manage.py wsgiperf cache                                       all processes on this host
  manage.py wsgiperf cache /books/7/                             is it kept, how long still, why not?
  manage.py wsgiperf cache https://shop.example/books/ --header "Accept-Language: de" --cookie sessionid=x
  manage.py wsgiperf cache /books/7/ --make                      make the page here, and tell what becomes of it

An address is explained for a GET with the headers and cookies given. --make calls the project's application in this
process, keeps nothing, and exits with 1 when the page would not be kept."""


def add_arguments(parser: ArgumentParser) -> None:
    """The address, if any, and the request for it."""
    parser.add_argument("url", nargs="?", help="an address, or a path on the host where it is kept")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        dest="headers",
        metavar="NAME: VALUE",
        type=_header,
        help="of the request",
    )
    parser.add_argument(
        "--cookie",
        action="append",
        default=[],
        dest="cookies",
        metavar="NAME=VALUE",
        type=_cookie,
        help="of the request",
    )
    parser.add_argument("--make", action="store_true", help="make the page here, and tell whether it would be kept")
    parser.add_argument("--largest", type=int, default=10, metavar="N", help="largest pages to show (default: 10)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _header(text: str) -> tuple[str, str]:
    from django_wsgiperf.cache.headers.lists import is_token

    name, colon, value = text.partition(":")
    if not colon or not is_token(name.strip()) or not value.strip().isprintable():
        raise ArgumentTypeError(f"{text!r} is no header; write --header 'Accept-Language: de'")
    return name.strip().lower(), value.strip()


def _cookie(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not text.isprintable() or ";" in text:
        raise ArgumentTypeError("that is no cookie; write --cookie name=value")
    return f"{name.strip()}={value}"


def handle(command: BaseCommand, options: dict[str, Any]) -> int | None:
    """Show the processes, or explain an address."""
    from django_wsgiperf.cache import runtime

    engine = runtime.engine()
    if engine is None:
        raise CommandError("the response cache is off: WSGIPERF['CACHE']['ENABLED'] is false", returncode=FINDINGS)
    if options["url"] is None:
        if options["headers"] or options["cookies"] or options["make"]:
            raise UsageError("--header, --cookie and --make need the address of a page")
        return _show_all(command, options)
    headers: dict[str, str] = {}
    for name, value in options["headers"]:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if options["cookies"]:
        headers["cookie"] = "; ".join([*filter(None, [headers.get("cookie")]), *options["cookies"]])
    try:
        target = _whole(engine, options["url"], headers)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return _explain(command, engine, target, headers, options)


def _whole(engine: Engine, given: str, headers: dict[str, str]) -> Target:
    """The address that is meant. Of a path, the processes know scheme and host: where they keep it, or else where
    visitors come to; the settings know no port and no https. Raises ValueError."""
    from django_wsgiperf.cache.addresses import target_of

    target = target_of(given)
    if target.host:
        return target
    told = [engine.explain(given, headers)]
    told += [reply["explain"] for reply in ask_caches({"explain": {"url": given, "headers": headers}}).replies.values()]
    # This process has no visitors, and one of the others may have none yet: they say what the settings say.
    unasked = told[0]["url"]
    best = max(
        told,
        key=lambda found: (
            found["stored"],
            found.get("entry", {}).get("hits", 0),
            bool(found.get("last_refusal")),
            found["url"] != unasked,
        ),
    )
    parts = urlsplit(best["url"])
    return replace(target, scheme=parts.scheme, host=parts.netloc)


def _url(target: Target) -> str:
    url = f"{target.scheme}://{target.host}{quote(target.path.encode('latin-1'))}"
    return f"{url}?{target.query}" if target.query else url


def _show_all(command: BaseCommand, options: dict[str, Any]) -> int | None:
    from . import _cache_overview

    asked = ask_caches({"numbers": True, "largest": max(0, options["largest"])})
    if options["json"]:
        facts = {"processes": asked.replies, "failures": asked.failures}
        command.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _cache_overview.show(command, asked, options["largest"])
    return FINDINGS if asked.failures else None


def _explain(
    command: BaseCommand, engine: Engine, target: Target, headers: dict[str, str], options: dict[str, Any]
) -> int | None:
    from . import _cache_making, _cache_page

    url = _url(target)
    own = engine.explain(url, headers)
    asked = ask_caches({"explain": {"url": url, "headers": headers}})
    made = _cache_making.make(target, headers) if options["make"] else None
    processes = {name: reply["explain"] for name, reply in asked.replies.items()}
    if options["json"]:
        facts = {
            "url": url,
            "processes": processes,
            "failures": asked.failures,
            # Of this process only what does not depend on its memory, unless there is a shared store.
            "here": own,
            **({} if made is None else {"made": made.as_json()}),
        }
        command.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _cache_page.show(command, url, own, processes, asked.failures, made)
    if made is not None and not made.kept:
        return FINDINGS
    return FINDINGS if asked.failures else None
