"""Prometheus, the dashboard, the scaling and the page for operators know the metrics that there are."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import promql_parser
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from musicgen_service import settings
from musicgen_service.models.store import WeightStore
from musicgen_service.service import MusicGenService
from musicgen_service.serving import worker_metrics
from musicgen_service.serving.routes import ROUTES
from tests.serving.conftest import gateway_of
from tests.support.deployments import CONTAINER, MANIFESTS, SCALED

DASHBOARD = json.loads(Path("deploy/grafana.json").read_text())
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "info": ["_info"]}


@pytest.fixture(scope="module")
def known_metrics(store: WeightStore) -> set[str]:
    """The names of all metrics: those of the gateway, and of a worker on a GPU."""
    gateway = gateway_of(lambda: None)
    families: list[Any] = list(text_string_to_metric_families(asyncio.run(gateway.metrics.text()).decode()))
    gateway.stop()
    service = MusicGenService(store)
    service.device = torch.device("cuda")
    with patch("torch.cuda.mem_get_info", Mock(return_value=(3, 10))):
        families += worker_metrics.registry_of(service).collect()
    return {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, [""])}


def test_prometheus_finds_the_metrics() -> None:
    assert MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(CONTAINER["ports"][0]["containerPort"]),
        "prometheus.io/path": "/metrics",
    }
    assert "GET /metrics" in ROUTES


def test_replicas_follow_the_queue() -> None:
    assert SCALED["spec"]["scaleTargetRef"]["name"] == MANIFESTS["Deployment"]["metadata"]["name"]
    [trigger] = SCALED["spec"]["triggers"]
    assert metrics_in(trigger["metadata"]["query"]) == {"musicgen_queue_length", "musicgen_predictions_running"}
    assert int(trigger["metadata"]["threshold"]) == settings.Settings().slots


def metrics_in(query: str) -> set[str]:
    """The names in a query of Prometheus, which is parsed."""
    found: set[str] = set()

    def visit(expression: Any) -> bool:
        if isinstance(expression, promql_parser.VectorSelector):
            found.add(str(expression.name))
        return True

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), visit)
    return found


def test_every_query_of_the_dashboard_asks_for_metrics_that_there_are(known_metrics: set[str]) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            asked = metrics_in(target["expr"])
            assert asked and asked <= known_metrics, (panel["title"], asked - known_metrics)
    for query in [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]:
        assert re.fullmatch(r"label_values\((\w+), instance\)", query["query"])[1] in known_metrics  # type: ignore[index]


def test_the_dashboard_shows_every_metric_of_the_service(known_metrics: set[str]) -> None:
    shown = set().union(*(metrics_in(target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known_metrics if name.startswith("musicgen_")}
    left_out = {"musicgen_queue_places", "musicgen_requests_held_bytes"}
    assert {name for name in ours - families if not name.startswith("musicgen_worker_process_")} == left_out


def test_panels_have_places_of_their_own() -> None:
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_page_for_operators_has_every_metric(known_metrics: set[str]) -> None:
    page = Path("docs/operators.md").read_text()
    for name in known_metrics:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        assert f"`{family}`" in page or family.startswith(("process_", "python_", "musicgen_worker_process_")), family
