"""Requests of every shape to every route: `python -m tests.e2e.any_requests [COUNT] [SEED]`.

Schemathesis makes them from the schema that the service publishes, and from the list of its other routes; none may be
answered with 5xx. They go to a gateway before a fake Cog server, and trainings are those of a stand-in for the command
that trains, so that nothing takes time. Schemathesis needs an older jsonschema-rs than the service, so uv runs it in an
environment of its own.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from musicgen_service.serving import training_process, training_schema
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.routes import ROUTES
from tests.serving.conftest import SCHEMA, gateway_of, running
from tests.support import fake_train
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import PROJECT

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
    "GET /v1/models/OWNER/NAME/versions",
    "GET /v1/models/OWNER/NAME/versions/VERSION",
    "POST /v1/models/OWNER/NAME/versions/VERSION/trainings",
    "POST /v1/models/OWNER/NAME/predictions",
    "GET /v1/deployments/OWNER/NAME",
    "POST /v1/deployments/OWNER/NAME/predictions",
    "GET /v1/webhooks/default/secret",
    "POST /v1/files",
    "GET /v1/files/ID",
    "DELETE /v1/files/ID",
    "GET /v1/trainings/ID/NAME",
)


def document() -> dict[str, Any]:
    """The service's schema, with every route that it does not describe."""
    schema = training_schema.added_to(SCHEMA)
    paths: dict[str, Any] = {path: dict(operations) for path, operations in schema["paths"].items()}
    made, trained = paths["/predictions"]["post"], paths["/v1/trainings"]["post"]
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
            known = made if is_new else trained if path.endswith("/trainings") else {"requestBody": {"content": _FREE}}
            operation["requestBody"] = known["requestBody"]
        paths.setdefault(address, {}).setdefault(method.lower(), operation)
    return {**schema, "paths": paths}


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
    with _stand_in_trainings(), fake_cog(slots=8) as cog, running(_gateway(cog)) as gateway:
        cog.resume.set()
        answered = attack(gateway, count, seed)
    print(f"{answered.total()} requests answered:", dict(sorted(answered.items())))
    if answered.total() < count or any(status.startswith("5") for status in answered):
        sys.exit(1)


def _gateway(cog: FakeCog) -> Gateway:
    limit = 10**6
    return gateway_of(
        lambda: cog.server_port,
        slots=8,
        trainings=True,
        requests_per_minute=limit,
        audio_seconds_per_minute=limit,
    )


@contextmanager
def _stand_in_trainings() -> Iterator[None]:
    """Train with the stand-in for the block, in a weights folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "demo").symlink_to(PROJECT / "weights" / "demo")
        command = (*training_process.COMMAND[:1], fake_train.__file__)
        with patch.dict(os.environ, MUSICGEN_WEIGHTS=folder), patch.object(training_process, "COMMAND", command):
            yield


if __name__ == "__main__":
    main()
