"""Writes docs/settings.md from the option table in conf.py and docs/checks.md from the table in checks.

    python -m tests.docs.generate

test_reference.py compares the pages with what this would write, so that they cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from django.core import checks as django_checks

from django_wsgiperf import conf
from django_wsgiperf.checks import CHECKS, Check

DOCS = Path(__file__).parents[2] / "docs"
NOTE = "<!-- Written by `python -m tests.docs.generate`; edit the tables in the code instead. -->"

SETTINGS_INTRO = """\
# Settings

Every option has a key in the `WSGIPERF` dictionary of your settings and an environment variable. Those of the
section `SERVER` are also flags of `manage.py serve`:

```python
# settings.py
WSGIPERF = {
    "SERVER": {
        "BIND": ("0.0.0.0:8000",),
        "THREADS": 12,
        "KEEPALIVE_S": 75,
    },
}
```

```console
$ WSGIPERF_THREADS=12 python manage.py serve
$ python manage.py serve --threads 12 --keepalive 75s 0.0.0.0:8000
```

## Which one wins

1. the command line,
2. the environment,
3. the settings,
4. the default.

`manage.py serve --print-config` shows every value and where it was set:

```text
<config>
```

Other commands, such as `manage.py check`, see the environment and the settings. A worker that gunicorn runs
(`gunicorn -k django_wsgiperf.server.worker.PooledWorker`) does too.

## How to write values

| Kind | In settings | In the environment and on the command line |
| --- | --- | --- |
| switch | `True`, `False` | `true`, `yes`, `on`, `1`, `false`, `no`, `off`, `0`; flags are `--reload` and \
`--no-reload` |
| number | `12` | `12` |
| size in bytes | `1_048_576` | `1048576`, `1MiB`; `k`, `M`, `G`, `T` count by 1000, `KiB`, `MiB`, `GiB`, \
`TiB` by 1024 |
| time | seconds: `0.5`, `30` | `0.5`, `500ms`, `30s`, `5m`, `1h`, `1d`; without a unit it is in seconds, or \
in milliseconds where the key ends in `_MS` |
| text | `"info"` | `info` |
| list | `("10.0.0.1", "::1")` | `10.0.0.1,::1`; addresses after `serve` are separated by spaces: \
`serve [::1]:80 unix:/run/site.sock` |

A time is a day at most. Files may be `pathlib.Path` objects; relative paths start where the command was
started. An empty text or list in the environment is a value; an empty number is an error.

Put `STATS_TOKEN` into the environment or the settings, not on the command line, where other users of the
machine can see it. It is shown as `<mask>` everywhere.

## When something is wrong

`serve` and `manage.py check` stop at a wrong configuration. They list all problems at once, with the key, the
value, where it was set and what to write instead:

```text
<error>
```

An environment variable that begins with `WSGIPERF_` and belongs to no option is an error as well. Two kinds
are left alone: names that begin with `WSGIPERF__`, which the project uses itself, and those that Kubernetes
sets for a service called `wsgiperf`, such as `WSGIPERF_SERVICE_HOST` and `WSGIPERF_PORT_80_TCP`.
"""

SECTION_INTRO = {
    "SERVER": "What `manage.py serve` listens on, and how it runs requests.",
    "POOL": """\
How the pools of database connections behave: [Database connection pool](database-pool.md) has the reasons. It holds
for every database whose `ENGINE` is one of `django_wsgiperf.db.backends`. The same keys in `DATABASES[alias]["POOL"]`
are for that database only, and win over the section and its environment variables; `False` turns the pool off:

```python
DATABASES = {
    "default": {
        "ENGINE": "django_wsgiperf.db.backends.postgresql",
        "NAME": "shop",
        "POOL": {"MAX_SIZE": 4},
    },
    "archive": {
        "ENGINE": "django_wsgiperf.db.backends.postgresql",
        "NAME": "archive",
        "POOL": False,
    },
}
```""",
    "CACHE": """\
Which pages are kept, where, for how long and for whom: [Response cache](response-cache.md) has the rules. It is on by
default, and keeps nothing that does not say that it may be kept.""",
    "METRICS": """\
What is measured of each request ([Request timing](request-timing.md)), and where the numbers are kept and sent
([Where the numbers are kept](metrics-pipeline.md), [Monitoring](monitoring.md)).""",
}

CHECKS_INTRO = """\
# System checks

`manage.py check` runs them, and so does every command that Django guards with checks, `serve` among them.
Those marked *deploy* run with `manage.py check --deploy` only, and those marked *database*, which ask the database
server, with `manage.py check --database default` and before `migrate`. To run these and no others:

```console
$ python manage.py check --tag wsgiperf --deploy
$ python manage.py check --tag database --database default
```

Errors stop `serve`. A warning that does not apply to you is silenced by its number:

```python
SILENCED_SYSTEM_CHECKS = ["wsgiperf.W011"]
```
"""


def settings_page() -> str:
    """docs/settings.md."""
    intro = SETTINGS_INTRO
    for mark, text in (("<config>", _print_config()), ("<error>", _error()), ("<mask>", conf.MASK)):
        intro = intro.replace(mark, text)
    parts = [NOTE, "", intro]
    for section in conf.SECTIONS:
        parts += [f'## `WSGIPERF["{section}"]`', "", SECTION_INTRO.get(section, ""), ""]
        titles = ("Key", "Default", "Meaning", "Environment", *(["Flag"] if section == "SERVER" else []))
        for group, options in groupby(conf.options(section), key=lambda option: option.group):
            parts += [f"### {group}", "", _line(titles), _line("---" for _ in titles), *map(_row, options), ""]
    return "\n".join(parts).rstrip() + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _row(option: conf.Option) -> str:
    meaning = option.help[0].upper() + option.help[1:] + "."
    unit = {"s": "Seconds", "ms": "Milliseconds", "bytes": "Bytes", "bytes/s": "Bytes a second"}.get(option.unit, "")
    limits = option.range_text if option.min is None or option.min or option.max is not None else ""
    if unit or limits:
        meaning += " " + (f"{unit}, {limits}" if unit and limits else unit or limits.capitalize()) + "."
    if option.choices:
        some = "Any" if option.kind.name == "LIST" else "One"
        meaning += f" {some} of " + ", ".join(f"`{choice}`" for choice in option.choices) + "."
    cells = [f"`{option.key}`", f"`{_literal(option.default)}`", meaning, f"`{option.environment_name}`"]
    if option.section == "SERVER":
        # Addresses are not given by a flag.
        flag = f"`{option.flag}`" if option.name != "bind" else "`address ...`"
        cells.append(flag + (f", `--no-{option.flag.removeprefix('--')}`" if option.kind.name == "BOOL" else ""))
    return _line(cell.replace("|", "\\|") for cell in cells)


def _literal(value: object) -> str:
    """A default as it is written in Python, with the digits of large numbers in groups."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return repr(value).replace("'", '"')


def _error() -> str:
    """A wrong configuration's message, as it is really printed."""
    try:
        conf.load(
            settings={"SERVER": {"THRAEDS": 12, "KEEPALIVE_S": "75s"}},
            environ={"WSGIPERF_WORKERS": "0"},
        )
    except conf.ConfigurationError as error:
        return str(error)
    raise AssertionError("a wrong configuration was accepted")


def _print_config() -> str:
    resolved = conf.load(
        cli={"threads": "12"},
        environ={"WSGIPERF_QUEUE_DEADLINE_S": "5s"},
        settings={"SERVER": {"STATS_TOKEN": "x"}},
    )
    wanted = ("BIND", "THREADS", "QUEUE_DEADLINE_S", "STATS_TOKEN")
    rows = [row for row in conf.describe(resolved) if row.key in wanted]
    return "\n".join(f"{row.key:<18}{row.value:<16}{row.origin}" for row in rows)


def checks_page() -> str:
    """docs/checks.md."""
    parts = [NOTE, "", CHECKS_INTRO, "| Number | Level | When | What it finds |", "| --- | --- | --- | --- |"]
    for number, check in CHECKS.items():
        anchor = number.replace(".", "").lower()
        when = "deploy" if check.deploy else "database" if check.question else "always"
        parts.append(f"| [{number}](#{anchor}) | {_level(check)} | {when} | {check.title} |")
    for number, check in CHECKS.items():
        # uWSGI and its like are written as they are.
        title = check.title if check.title[1].isupper() else f"{check.title[0].upper()}{check.title[1:]}"
        when = ", *deploy*" if check.deploy else ", *database*" if check.question else ""
        parts += ["", f"## {number}", "", f"**{title}** ({_level(check)}{when})", "", check.text]
    return "\n".join(parts) + "\n"


def _level(check: Check) -> str:
    return {django_checks.Error: "error", django_checks.Warning: "warning", django_checks.Info: "note"}[check.level]


PAGES = {"settings.md": settings_page, "checks.md": checks_page}


def main() -> int:
    """Write the pages. Nothing else is touched."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
