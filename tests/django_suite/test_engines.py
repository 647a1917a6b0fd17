from __future__ import annotations

from pathlib import Path

from django.db.utils import load_backend

from tests.django_suite.engines import DATABASES, POOLED, STOCK


def test_sqlite_is_tested_in_files_of_the_run_because_memory_is_never_pooled(tmp_path: Path) -> None:
    settings = DATABASES["sqlite3"].settings(POOLED, "run", tmp_path)
    names = {alias: of["TEST"]["NAME"] for alias, of in settings.items()}
    assert names == {
        "default": str(tmp_path / "run.sqlite3"),
        "other": str(tmp_path / "run_other.sqlite3"),
    }


def test_postgresql_is_compared_with_its_stock_engine_alone(postgres_url: str, tmp_path: Path) -> None:
    sides_differ_in_the_engine_alone("postgresql", tmp_path)


def test_postgis_is_compared_with_its_stock_engine_alone(postgis_url: str, tmp_path: Path) -> None:
    sides_differ_in_the_engine_alone("postgis", tmp_path)


def test_mysql_is_compared_with_its_stock_engine_alone(mysql_url: str, tmp_path: Path) -> None:
    sides_differ_in_the_engine_alone("mysql", tmp_path)


def test_sqlite_is_compared_with_its_stock_engine_alone(tmp_path: Path) -> None:
    sides_differ_in_the_engine_alone("sqlite3", tmp_path)


def sides_differ_in_the_engine_alone(name: str, folder: Path) -> None:
    stock, pooled = (DATABASES[name].settings(side, "run", folder) for side in (STOCK, POOLED))
    assert stock.keys() == pooled.keys() == {"default", "other"}
    for alias in stock:
        engines = [load_backend(settings[alias].pop("ENGINE")).DatabaseWrapper for settings in (stock, pooled)]
        assert issubclass(engines[1], engines[0])
        assert engines[1] is not engines[0]
    assert stock == pooled
