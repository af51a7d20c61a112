"""Requests of every shape to every route: `python -m tests.e2e.any_requests [COUNT] [SEED]`.

Schemathesis makes them from the schema that the service publishes, and from the list of its other routes; none may be
answered with 5xx. They go to a gateway before a fake Cog server, so that clips take no time. Schemathesis needs an
older jsonschema-rs than the service, so uv runs it in an environment of its own.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.routes import ROUTES
from tests.serving.conftest import SCHEMA, gateway_of, running
from tests.support.fake_cog import FakeCog, fake_cog

TOOL = ("schemathesis==4.32.5", "2026-11-26")
"""Its version, and the day whose versions of what it needs it gets."""
_FREE = {
    "application/json": {"schema": {}},
    "multipart/form-data": {"schema": {"type": "object", "additionalProperties": {"type": "string"}}},
}
"""A body of any content."""
_HOSTED = (
    "GET /v1/predictions",
    "POST /v1/predictions",
    "GET /v1/predictions/ID",
    "POST /v1/predictions/ID/cancel",
    "GET /v1/models",
    "GET /v1/models/OWNER/NAME",
    "GET /v1/models/OWNER/NAME/versions/VERSION",
    "POST /v1/models/OWNER/NAME/predictions",
    "GET /v1/deployments/OWNER/NAME",
    "POST /v1/deployments/OWNER/NAME/predictions",
    "GET /v1/webhooks/default/secret",
    "POST /v1/files",
    "GET /v1/files/ID",
    "DELETE /v1/files/ID",
)


def document() -> dict[str, Any]:
    """The service's schema, with every route that it does not describe."""
    paths: dict[str, Any] = {path: dict(operations) for path, operations in SCHEMA["paths"].items()}
    made = paths["/predictions"]["post"]
    for route in (*ROUTES, *_HOSTED):
        method, _, path = route.rpartition(" ")
        if not method:
            continue
        names = re.findall(r"[A-Z]+", path)
        address = re.sub(r"([A-Z]+)", lambda found: f"{{{found[1]}}}", path)
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
        parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("format", "x")]
        parameters += [
            {"name": name, "in": "header", "schema": {"type": "string"}}
            for name in ("Prefer", "Accept", "Range", "traceparent", "If-Range", "If-Modified-Since")
        ]
        operation: dict[str, Any] = {"parameters": parameters, "responses": {"default": {"description": ""}}}
        if method != "GET":
            is_new = re.search(r"/predictions(/ID)?(/stream)?$", path)
            operation["requestBody"] = made["requestBody"] if is_new else {"content": _FREE}
        paths.setdefault(address, {}).setdefault(method.lower(), operation)
    return {**SCHEMA, "paths": paths}


def attack(gateway: Gateway, count: int, seed: int) -> Counter[str]:
    """Send about so many requests; returns the number of those that were answered, by status.

    Raises
    ------
    subprocess.CalledProcessError
        When one of them was answered with 5xx.
    """
    host, port = gateway.address
    shape = document()
    operations = sum(len(operations) for operations in shape["paths"].values())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(shape))
        command = ["uv", "tool", "run", "--exclude-newer", TOOL[1], "--from", TOOL[0], "schemathesis", "run", str(file)]
        command += ["--url", f"http://{host}:{port}", "--phases", "coverage,fuzzing", "--seed", str(seed)]
        command += ["--checks", "not_a_server_error", "--continue-on-failure", "--workers", "4", "--mode", "all"]
        command += ["--max-examples", str(-(-count // operations)), "--suppress-health-check", "all"]
        subprocess.run(command, check=True, cwd=folder)
    answered = Counter[str]()
    for metric in gateway.metrics.requests.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                answered[sample.labels["status"]] += int(sample.value)
    return answered


def main() -> None:
    """Parse the command line and run; exits with 1 on a problem."""
    numbers = [int(word) for word in sys.argv[1:]]
    count, seed = [*numbers, *(5000, 0)[len(numbers) :]]
    with fake_cog(slots=8) as cog, running(_gateway(cog)) as gateway:
        cog.resume.set()
        answered = attack(gateway, count, seed)
    print(f"{answered.total()} requests answered:", dict(sorted(answered.items())))
    if answered.total() < count or any(status.startswith("5") for status in answered):
        sys.exit(1)


def _gateway(cog: FakeCog) -> Gateway:
    return gateway_of(lambda: cog.server_port, slots=8, requests_per_minute=10**6, audio_seconds_per_minute=10**6)


if __name__ == "__main__":
    main()
