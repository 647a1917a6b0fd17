from __future__ import annotations

from pathlib import Path

import pytest

from tests.django_suite.engines import DATABASES, POOLED, STOCK


def test_sqlite_is_tested_in_files_of_the_run_because_memory_is_never_pooled(tmp_path: Path) -> None:
    settings = DATABASES["sqlite3"].settings(POOLED, "run", tmp_path)
    names = {alias: of["TEST"]["NAME"] for alias, of in settings.items()}
    assert names == {
        "default": str(tmp_path / "run.sqlite3"),
        "other": str(tmp_path / "run_other.sqlite3"),
    }


@pytest.mark.parametrize("name", DATABASES)
def test_both_sides_differ_in_the_engine_alone(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if DATABASES[name].service:
        request.getfixturevalue({"postgres": "postgres_url", "mysql": "mysql_url"}[DATABASES[name].service])
    stock = DATABASES[name].settings(STOCK, "run", tmp_path)
    pooled = DATABASES[name].settings(POOLED, "run", tmp_path)
    for alias in stock:
        assert stock[alias].pop("ENGINE") != pooled[alias].pop("ENGINE")
    assert stock == pooled
