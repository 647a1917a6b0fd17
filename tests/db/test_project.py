"""A small project by manage.py: its migrations, routers and test suite, and the database's own client by `dbshell`."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests._run import processes, servers
from tests.db.databases import Database, run, value

#: The processes of one test take turns on a busy machine; each wait has a limit of its own.
pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
LIMIT_S = 100.0
Manage = Callable[..., str]
#: Where there is no program of SQLite, for it need not be installed to use the library.
SQLITE_CLIENT = f"""#!{sys.executable}
import sqlite3, sys
database = sqlite3.connect(sys.argv[-1])
for statement in sys.stdin.read().split(";"):
    for row in database.execute(statement):
        print(*row, sep="|")
database.commit()
"""


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind in turn: its alias "default"."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def other(database: Database, tmp_path: Path) -> Iterator[Database]:
    """A second database of that kind: the alias "other"."""
    service = {"postgresql": "postgres", "mysql": "mysql"}.get(database.engine)
    if service is None:
        yield Database("sqlite3", {"NAME": str(tmp_path / "other.sqlite3")})
        return
    with services.scratch_database(service) as address:
        made = Database.at(address.url)
        yield made
        made.close()


@pytest.fixture
def manage(database: Database, other: Database, tmp_path: Path) -> Manage:
    """Runs manage.py with these two; what it says. AssertionError when it fails."""

    def call(*words: str, said: str = "", pool: dict[str, Any] | None = None, **options: Any) -> str:
        entries = {}
        for alias, each in (("default", database), ("other", other)):
            test = {"TEST": {"NAME": str(tmp_path / f"suite-{alias}.sqlite3")}} if each.engine == "sqlite3" else {}
            entry = {
                "ENGINE": f"django_wsgiperf.db.backends.{each.engine}",
                **each.settings,
                **test,
                "POOL": pool or {},
            }
            entries[alias] = {**entry, **options}
        names = {"DJANGO_SETTINGS_MODULE": "tests.db.project.settings", "PROJECT_DATABASES": json.dumps(entries)}
        clients = {"PATH": f"{os.environ['PATH']}{os.pathsep}{tmp_path / 'bin'}", "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, "-m", "django", *words],
            env={**processes.clean_environment(os.environ), **names, **clients},
            cwd=ROOT,
            input=said,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    return call


def test_suite_of_a_project_passes_in_parallel(manage: Manage) -> None:
    """By transaction, which gives a connection away whenever it can; suites with the others are tests/django_suite."""
    pool = {"RELEASE": "transaction", "MAX_SIZE": 4}
    told = manage("test", "tests.db.project.suite", "--noinput", "--parallel=2", pool=pool)
    assert "Ran 15 tests" in told
    assert "OK" in told.splitlines()
    assert "skipped" not in told


def test_migrations_of_two_databases_go_there_and_back(manage: Manage, database: Database, other: Database) -> None:
    """0002 changes a table that has rows, which others refer to: SQLite makes it anew with its keys unchecked."""
    pool = {"RELEASE": "transaction", "MAX_SIZE": 1}
    for alias in ("default", "other"):
        manage("migrate", "project", "--database", alias, pool=pool)
    on_default, on_other = database.wrapper(stock=True), other.wrapper(stock=True)
    for wrapper in (on_default, on_other):
        assert value(wrapper, "SELECT COUNT(*) FROM django_migrations WHERE app = 'project'") == 2
    assert value(on_default, "SELECT stock FROM project_thing WHERE name = 'migrated'") == 0
    assert value(on_default, "SELECT COUNT(*) FROM project_part") == 1
    assert value(on_other, "SELECT COUNT(*) FROM project_entry") == 0
    manage("migrate", "project", "zero", pool=pool)
    assert not {"project_thing", "project_part"} & set(on_default.introspection.table_names())
    for wrapper in (on_default, on_other):
        wrapper.close()


def test_dbshell_runs_the_databases_own_client(
    manage: Manage, database: Database, other: Database, tmp_path: Path
) -> None:
    _provide_client(database.engine, tmp_path / "bin")
    for alias, asked in (("default", database), ("other", other)):
        told = manage("dbshell", "--database", alias, said="CREATE TABLE here (n INTEGER); SELECT 6 * 7;")
        assert "42" in told
        wrapper = asked.wrapper(stock=True)
        assert "here" in wrapper.introspection.table_names(), "the client is connected to this very database"
        run(wrapper, "DROP TABLE here")
        wrapper.close()


def _provide_client(engine: str, folder: Path) -> None:
    """Put the client that Django calls on a path, where it is on none."""
    program = {"postgresql": "psql", "mysql": "mysql", "sqlite3": "sqlite3"}[engine]
    if shutil.which(program):
        return
    folder.mkdir()
    if engine == "sqlite3":
        script = folder / program
        script.write_text(SQLITE_CLIENT, encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return
    if engine == "mysql":
        found = shutil.which("mariadb")
    else:
        # Where the server's own programs are that are on no path.
        beside = servers.RECIPES["postgres"].programs() or {}
        found = next(
            (str(psql) for path in beside.values() if (psql := Path(path).resolve().with_name(program)).exists()), None
        )
    if found is None:
        raise services.ServiceMissing(f"{program}, which dbshell calls, is not installed")
    (folder / program).symlink_to(found)
