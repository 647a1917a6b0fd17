"""GeoDjango on the pooled engine: queries as with the stock one, sessions that are clean, connections that are shared.

Nothing of GeoDjango is imported before a test runs, because it loads GDAL, which may not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import isolate_apps

from django_wsgiperf.db import registry
from tests.db.databases import Database, in_thread, run, value
from tests.db.sites import site

STOCK = "django.contrib.gis.db.backends.postgis"
#: Name, longitude, latitude.
TOWNS = (("Potsdam", 13.06, 52.40), ("Berlin", 13.40, 52.52), ("Wien", 16.37, 48.21))
#: Brandenburg, as a box.
BOX = (11.0, 51.0, 15.0, 54.0)


@pytest.fixture
def database(postgis_url: str, allowed_database: None) -> Iterator[Database]:
    """A database without the extension: GeoDjango creates it."""
    server = Database.at(postgis_url)
    made = Database("postgis", server.settings)
    yield made
    outside = server.wrapper(stock=True)
    run(outside, "DROP EXTENSION IF EXISTS postgis CASCADE", "DROP TABLE IF EXISTS town")
    made.close()
    server.close()


@pytest.fixture
def town() -> Iterator[Any]:
    """A model with a point on the plane, one on the globe and an area."""
    from django.contrib.gis.db import models

    with isolate_apps("django.contrib.contenttypes"):

        class Town(models.Model):
            name = models.CharField(max_length=40)
            place = models.PointField()
            globe = models.PointField(geography=True)
            area = models.PolygonField(null=True)

            class Meta:
                app_label = "towns"
                db_table = "town"

            def __str__(self) -> str:
                return str(self.name)

        yield Town


def fill(town: Any) -> None:
    """What `migrate` and a site's first requests do."""
    from django.contrib.gis.geos import Point, Polygon

    connection.prepare_database()
    with connection.schema_editor() as editor:
        editor.create_model(town)
    for name, longitude, latitude in TOWNS:
        point = Point(longitude, latitude, srid=4326)
        area = Polygon.from_bbox((longitude - 0.1, latitude - 0.1, longitude + 0.1, latitude + 0.1))
        town.objects.create(name=name, place=point, globe=point, area=area)


def questions(town: Any) -> dict[str, Any]:
    """What is asked of it, and the answers."""
    from django.contrib.gis.db.models import Collect, Extent
    from django.contrib.gis.db.models.functions import Area, AsGeoJSON, Distance, Transform
    from django.contrib.gis.geos import Point, Polygon
    from django.contrib.gis.measure import D

    berlin = Point(13.40, 52.52, srid=4326)
    names = town.objects.order_by("name").values_list("name", flat=True)
    near = town.objects.annotate(away=Distance("globe", berlin)).order_by("away")
    return {
        "points": [each.place.ewkt for each in town.objects.order_by("name")],
        "areas": [each.area.ewkt for each in town.objects.order_by("name")],
        "within": list(names.filter(place__within=Polygon.from_bbox(BOX))),
        "containing": list(names.filter(area__contains=berlin)),
        "near": list(names.filter(globe__distance_lte=(berlin, D(km=50)))),
        "away": [(each.name, round(each.away.km)) for each in near],
        "extent": town.objects.aggregate(extent=Extent("place"))["extent"],
        "together": town.objects.aggregate(all=Collect("place"))["all"].geom_type,
        "square": [round(each.m2.sq_m, -6) for each in town.objects.annotate(m2=Area(Transform("area", 3857)))],
        "json": list(town.objects.order_by("name").annotate(json=AsGeoJSON("place")).values_list("json", flat=True)),
        "streamed": [each.place.ewkt for each in town.objects.order_by("name").iterator(chunk_size=2)],
    }


def in_a_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it gives in a thread that gives its connection back, as at the end of a request."""

    def call() -> Any:
        try:
            return function(*arguments)
        finally:
            connections.close_all()

    return in_thread(call)


def test_every_query_answers_as_with_the_stock_engine(database: Database, town: Any) -> None:
    answers = {}
    for engine, options in (("stock", {"stock": True, "ENGINE": STOCK}), ("pooled", {"pool": {"MAX_SIZE": 1}})):
        with site(database, "tests.urls", **options):
            in_a_thread(fill, town)
            answers[engine] = [in_a_thread(questions, town) for _ in range(2)]
            in_a_thread(lambda: run(connection, "DROP TABLE town", "DROP EXTENSION postgis"))
    assert answers["pooled"] == answers["stock"]
    (asked, again) = answers["pooled"]
    assert asked == again
    assert asked["points"][0] == "SRID=4326;POINT (13.4 52.52)"
    assert (asked["within"], asked["containing"]) == (["Berlin", "Potsdam"], ["Berlin"])
    assert asked["away"][0] == ("Berlin", 0)


def test_threads_share_connections_and_the_pool_tells_of_them(database: Database, town: Any) -> None:
    with site(database, "tests.urls", pool={"MAX_SIZE": 1}):
        in_a_thread(fill, town)
        answers = [in_a_thread(questions, town) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        (pool,) = registry.pools()
        shown = pool.snapshot()
    assert (shown["created"], shown["closed"]) == (1, {})
    assert shown["db.client.connection.count"] == {"idle": 1, "used": 0}
    assert shown["db.client.connection.use_time"]["count"] == 4
    assert (shown["used_max"], shown["open_max"], shown["pending_max"]) == (1, 1, 0)


@pytest.mark.parametrize("reset", ["auto", "hard"])
def test_session_is_as_new_and_still_knows_geometry(database: Database, town: Any, reset: str) -> None:
    def leave_things_behind() -> int:
        run(
            connection,
            "SET search_path TO pg_catalog",
            "SET postgis.backend = 'geos'",
            "SET TIME ZONE 'Asia/Tokyo'",
            "CREATE TEMPORARY TABLE left_over AS SELECT public.ST_MakePoint(1, 2) AS point",
        )
        return int(value(connection, "SELECT pg_backend_pid()"))

    def look() -> tuple[Any, ...]:
        return (
            value(connection, "SHOW search_path"),
            value(connection, "SHOW TimeZone"),
            value(connection, "SELECT to_regclass('left_over')"),
            value(connection, "SELECT pg_backend_pid()"),
        )

    with site(database, "tests.urls", pool={"MAX_SIZE": 1, "RESET": reset}):
        in_a_thread(fill, town)
        before = in_a_thread(questions, town)
        session = in_a_thread(leave_things_behind)
        assert in_a_thread(look) == ('"$user", public', "UTC", None, session)
        assert in_a_thread(questions, town) == before
        (pool,) = registry.pools()
        assert pool.snapshot()["resets"]["hard"] >= 1


def test_connections_that_are_older_than_the_extension_know_geometry(database: Database, town: Any) -> None:
    """With MIN_IDLE there are some before `migrate` creates it, and others get those of the thread that did."""
    with site(database, "tests.urls", pool={"MAX_SIZE": 2, "MIN_IDLE": 2}):
        connection.ensure_connection()
        in_a_thread(fill, town)
        # This thread still has its own, and another gets the one that `fill` has left.
        mine = questions(town)
        from django.contrib.gis.geos import Point

        town.objects.create(name="Dom", place=Point(6.96, 50.94), globe=Point(6.96, 50.94))
        assert in_a_thread(lambda: [each.place.ewkt for each in town.objects.filter(name="Dom")]) == [
            "SRID=4326;POINT (6.96 50.94)"
        ]
        assert len(mine["points"]) == 3
        connection.close()
