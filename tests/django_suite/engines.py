"""Which databases and engines are compared, and the DATABASES setting of each run.

Every run gets databases of its own: a name on the given server, or a file in the run's folder. Nothing connects here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import services
from tests.services import Address

#: The alternatives of one comparison.
STOCK = "stock"
POOLED = "pooled"
SIDES = (STOCK, POOLED)
#: JSON for the process of a run: its DATABASES, and the file for its results.
VARIABLE = "DJANGO_SUITE_RUN"

#: What issue after issue has shown to notice a changed engine.
LABELS = (
    "backends",
    "transactions",
    "transaction_hooks",
    "queries",
    "select_for_update",
    "delete",
    "multiple_database",
    "servers",
    "handlers",
    "async",
    "test_utils",
    "test_runner",
    "postgres_tests",
)
#: Quick, and the most likely to notice.
CORE_LABELS = ("backends", "transactions", "transaction_hooks", "select_for_update")
#: GeoDjango's tests that ask a database. Those of GDAL and GEOS alone know no engine.
GIS_LABELS = (
    *("distapp", "geo3d", "geoadmin", "geoapp", "geogapp", "gis_migrations", "inspectapp", "layermap", "rasterapp"),
    *("relatedapp", "test_data", "test_fields", "test_gis_tests_utils", "test_spatialrefsys", "tests"),
)
#: Tests that look an engine up by the name of ENGINE in a list of Django's own, and skip themselves when it is another.
KNOW_ENGINES_BY_NAME = frozenset({"gis_tests.inspectapp.tests.OGRInspectTest.test_time_field"})


@dataclass(frozen=True, slots=True)
class Database:
    """A kind of database. `service` is its key in tests.services; none for files."""

    name: str
    title: str
    service: str | None
    #: Where Django has its own engine.
    stock: str = "django.db.backends"
    #: What is run instead of LABELS and CORE_LABELS, unless labels are asked for.
    labels: tuple[str, ...] = ()

    def engine(self, side: str) -> str:
        """The dotted path of ENGINE."""
        return f"{self.stock if side == STOCK else 'django_wsgiperf.db.backends'}.{self.name}"

    def settings(self, side: str, name: str, folder: Path) -> dict[str, dict[str, Any]]:
        """The DATABASES setting: the two aliases that Django's tests expect. Raises ServiceMissing."""
        return {
            alias: {"ENGINE": self.engine(side), **self._place(alias, name, folder)} for alias in ("default", "other")
        }

    def _place(self, alias: str, name: str, folder: Path) -> dict[str, Any]:
        full_name = name if alias == "default" else f"{name}_{alias}"
        if self.service is None:
            # Memory, which Django's own settings use, is never pooled.
            path = str(folder / f"{full_name}.sqlite3")
            return {"NAME": path, "TEST": {"NAME": path}}
        server = Address.parse(services.address(self.service))
        place: dict[str, Any] = {
            "NAME": full_name,
            "HOST": server.host,
            "PORT": server.port,
            "USER": server.user,
            "PASSWORD": server.password,
        }
        if self.name == "mysql":
            # As Django's documentation for running its tests asks for.
            place["TEST"] = {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_general_ci"}
        return place

    def test_names(self, name: str) -> tuple[str, ...]:
        """The databases on the server that a run may leave behind when it is stopped."""
        return () if self.service is None else (f"test_{name}", f"test_{name}_other")


DATABASES: Mapping[str, Database] = {
    "postgresql": Database("postgresql", "PostgreSQL", "postgres"),
    "postgis": Database(
        "postgis",
        "PostGIS",
        "postgis",
        stock="django.contrib.gis.db.backends",
        labels=tuple(f"gis_tests.{name}" for name in GIS_LABELS),
    ),
    "mysql": Database("mysql", "MariaDB", "mysql"),
    "sqlite3": Database("sqlite3", "SQLite in files", None),
}
