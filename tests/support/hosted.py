"""A transport for the platform's Python client that maps the platform's routes to those of a Cog server.

The client knows `/v1/predictions`, `/v1/models/OWNER/NAME/predictions` and `.../versions/ID`; Cog has
`/predictions` and `/openapi.json`, and its replies lack `model` and `version`, without which the client cannot
read them. This transport rewrites both, and nothing else: input, output, status, error and metrics go through
as they are.
"""

import json
import re
from typing import Any

import httpx

_PREDICTIONS = re.compile(r"/v1(?:/models/(?P<model>[^/]+/[^/]+))?/predictions")
_VERSION = re.compile(r"/v1/models/(?P<model>[^/]+/[^/]+)/versions/(?P<version>[^/]+)")
_TIME = "2026-01-01T00:00:00Z"


class CogTransport(httpx.BaseTransport):
    """For `replicate.Client(transport=CogTransport(address))`."""

    def __init__(self, address: str) -> None:
        self._cog = httpx.Client(base_url=address, timeout=None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Convert Cog's response to the platform's format."""
        path = request.url.path
        if request.method == "POST" and (found := _PREDICTIONS.fullmatch(path)):
            body = json.loads(request.read())
            answer = self._cog.post("/predictions", json={"input": body["input"]})
            names = {"model": found["model"] or "", "version": body.get("version", "")}
            return _answer(answer.status_code, names | answer.json())
        if found := _VERSION.fullmatch(path):
            answer = self._cog.get("/openapi.json")
            about = {"id": found["version"], "created_at": _TIME, "cog_version": "0.23.1"}
            return _answer(answer.status_code, about | {"openapi_schema": answer.json()})
        return _answer(404, {"title": "Not found", "detail": f"A Cog server has no {path}."})


def _answer(status: int, body: dict[str, Any]) -> httpx.Response:
    return httpx.Response(status, json=body)
