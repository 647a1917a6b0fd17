"""The sections of /-/stats keep to their schema, and say what was counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from django_wsgiperf.metrics.exports import statistics
from django_wsgiperf.metrics.exports.gather import Gathered, Process
from django_wsgiperf.metrics.tally import Tally

from .counted import ROUTE, cell, gathered, pool, said, tally

SCHEMA = json.loads((Path(statistics.__file__).parent / "stats.schema.json").read_text())


def checked(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers as JSON brings them, once they are known to keep to the schema."""
    read: dict[str, Any] = json.loads(json.dumps(numbers))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(read, SCHEMA, cls=jsonschema.Draft202012Validator)
    return read


def sections(numbers: Gathered) -> dict[str, Any]:
    return checked({"schema": 1, "pid": 77, **statistics.sections(numbers)})


def test_routes_come_by_their_whole_time() -> None:
    numbers = gathered()
    numbers.tallies = {0: tally(quick=cell(1), slow=cell(9)), 1: tally(quick=cell(2), other=cell(1, status=500))}
    told = sections(numbers)
    assert [(route["route"], route["requests"]) for route in told["routes"]] == [
        ("slow", 9),
        ("quick", 3),
        ("other", 1),
    ]
    assert told["totals"]["requests"] == 13
    assert told["totals"]["statuses"] == {"200": 12, "500": 1}
    assert told["totals"]["methods"] == {"GET": 13}
    assert told["databases"]["default"]["queries"] == 26
    assert told["caches"]["default"]["hits"] == 9
    assert told["page_cache"]["outcomes"]["hit"] == 4


def test_a_route_has_its_parts_and_quantiles() -> None:
    [route] = sections(gathered())["routes"]
    assert route["route"] == ROUTE
    assert sum(route["parts_s"].values()) == pytest.approx(0.06)
    assert route["response_s"]["count"] == 3
    assert route["response_s"]["sum"] == pytest.approx(0.06)
    assert route["response_s"]["p95"] == pytest.approx(0.02, rel=0.045)
    assert route["exceptions"] == {"shop.errors.SoldOut": 1}


def test_pools_caches_and_pipelines_are_told_by_process() -> None:
    numbers = gathered()
    numbers.processes = [
        Process(0, said(pools=[pool()], page_cache={"hits": 3})),
        Process(1, said(process=1, pools=[pool("replica")])),
    ]
    told = sections(numbers)
    assert [(each["process"], each["db.client.connection.pool.name"]) for each in told["pools"]] == [
        (0, "default"),
        (1, "replica"),
    ]
    assert told["page_cache"]["processes"] == [{"process": 0, "hits": 3}]
    assert [each["process"] for each in told["pipeline"]] == [0, 1]
    assert told["processes"][1]["cpu_s"] == 12.5


def test_nothing_counted_keeps_to_the_schema() -> None:
    empty = Gathered()
    empty.tallies = {None: Tally()}
    told = sections(empty)
    assert told["routes"] == told["pools"] == []
    assert told["totals"]["response_s"]["p95"] is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("schema"),
        lambda told: told.update(schema=2),
        lambda told: told["routes"][0].pop("parts_s"),
        lambda told: told["routes"][0].update(requests=-1),
        lambda told: told["processes"][0].update(instance="host"),
        lambda told: told.pop("pipeline"),
        lambda told: told["totals"]["statuses"].update({"200": "many"}),
    ],
)
def test_schema_notices_what_is_wrong(spoil: Any) -> None:
    told = sections(gathered())
    spoil(told)
    with pytest.raises(jsonschema.ValidationError):
        checked(told)
