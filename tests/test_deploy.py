"""The files under deploy/ against what the service does; nothing here needs Kubernetes or Docker."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from musicgen_service import server, settings, supervisor
from tests.e2e.harness import free_port, http_server

MANIFESTS = {found["kind"]: found for found in yaml.safe_load_all(Path("deploy/kubernetes.yaml").read_text())}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
COMPOSE = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]["musicgen"]
SERVE = ["python", "-m", "musicgen_service", "serve", "--host", "0.0.0.0", "--port", "5000"]


def test_an_image_keeps_as_little_memory_as_serve() -> None:
    environment = dict(line.split("=") for line in yaml.safe_load(Path("cog.yaml").read_text())["environment"])
    assert server.MEMORY and server.MEMORY.items() <= environment.items()


def probe(question: str, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "musicgen_service.probe", question]
    environment = os.environ | {"PORT": str(port)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def health(status: str) -> Callable[..., BaseHTTPRequestHandler]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health-check" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"status": status}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    return Health


@pytest.mark.parametrize(
    ("status", "ready", "live"),
    [
        ("READY", True, True),
        ("BUSY", True, True),
        ("STARTING", False, True),
        ("DRAINING", False, True),
        ("UNHEALTHY", False, False),
        ("DEFUNCT", False, False),
        ("SETUP_FAILED", False, False),
    ],
)
def test_a_probe_reads_the_body(status: str, ready: bool, live: bool) -> None:
    with http_server(health(status)) as address:
        port = int(address.rpartition(":")[2])
        answers = [probe(question, port).returncode == 0 for question in ("ready", "live")]
    assert answers == [ready, live]


def test_a_probe_without_a_server_fails() -> None:
    assert probe("live", free_port()).returncode == 1


def test_both_deployments_supervise() -> None:
    assert CONTAINER["command"] == COMPOSE["command"] == SERVE
    assert CONTAINER["ports"][0]["containerPort"] == 5000
    assert MANIFESTS["Service"]["spec"]["ports"][0]["targetPort"] == CONTAINER["ports"][0]["name"]


def test_every_probe_is_ours() -> None:
    found = {
        kind: CONTAINER[f"{kind}Probe"]["exec"]["command"][1:] for kind in ("startup", "readiness", "liveness")
    } | {"compose": COMPOSE["healthcheck"]["test"][2:]}
    module = ["-m", "musicgen_service.probe"]
    assert found == {
        "startup": [*module, "live"],
        "readiness": [*module, "ready"],
        "liveness": [*module, "live"],
        "compose": [*module, "ready"],
    }


def test_predictions_have_the_time_to_finish() -> None:
    environment = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    least = settings.load(environment).drain_seconds + supervisor.GIVING_UP + 10
    assert POD["terminationGracePeriodSeconds"] >= least
    assert int(COMPOSE["stop_grace_period"].removesuffix("s")) >= least
    assert COMPOSE["environment"]["MUSICGEN_DRAIN_SECONDS"] == environment["MUSICGEN_DRAIN_SECONDS"]


def test_both_run_as_an_ordinary_user() -> None:
    assert POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["runAsUser"] >= 1000
    assert CONTAINER["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert COMPOSE["user"] == "1000:1000" and COMPOSE["cap_drop"] == ["ALL"]


def test_the_selectors_select() -> None:
    labels: dict[str, Any] = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    mounted = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}
