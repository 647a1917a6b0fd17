"""docs/monitoring.md names every metric that is told, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from django_wsgiperf.metrics.exports import exposition, opentelemetry, own
from django_wsgiperf.server import exposition as server_exposition
from django_wsgiperf.server.scoreboard import Scoreboard
from tests.metrics.exports.counted import cell, gathered, pool, tally

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"


def prometheus() -> set[str]:
    """The names of all families, as they are in the text."""
    memory = {"bytes": 1, "max_bytes": 2, "entries": 1, "evictions": 0}
    work = ("stored", "store_hits", "refreshes", "refresh_failures", "errors_covered", "invalidations")
    cache = {"memory": memory, "store": {"is_reachable": True}, **dict.fromkeys(work, 0)}
    collectors = [
        exposition.Collector(gathered(pools=[pool()], page_cache=cache)),
        server_exposition._BoardCollector(Scoreboard()),
    ]
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for collector in collectors
        for family in collector.collect()
    }


def otlp() -> set[str]:
    snapshot = opentelemetry.Snapshot(1.0)
    opentelemetry.add_requests(snapshot, tally(a=cell()), {"GET": 1})
    everything = pool()
    for name in ("create_time", "use_time"):
        everything[f"db.client.connection.{name}"] = everything["db.client.connection.wait_time"]
    opentelemetry.add_pools(snapshot, [everything])
    opentelemetry.add_process(snapshot, {**own.resources(), "rss_bytes": 1})
    return {metric.name for metric in snapshot.metrics}


def listed(pattern: str) -> set[str]:
    """Names in the first column of the tables."""
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]*)`", row) if re.fullmatch(pattern, name)}


def test_every_prometheus_metric_is_listed() -> None:
    assert listed(r"(wsgiperf|db_client)_\w+") == prometheus()


def test_every_otlp_metric_is_listed() -> None:
    assert listed(r"(http|wsgiperf|db|process|cpython)\.[\w.]+") == otlp()


def test_queries_and_alerts_use_metrics_that_there_are() -> None:
    known = prometheus()
    text = PAGE.read_text()
    used = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for name in re.findall(r"(?:wsgiperf|db_client)_[a-z_0-9]+(?=[\[{)])", text)
    }
    assert used
    assert {name for name in used if name not in known and not name.endswith("pool_name")} == set()
