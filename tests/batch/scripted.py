"""A scripted server for batches, which does what servers do on a bad day."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from musicgen_service import cli
from musicgen_service.serving import schema

SCHEMA = schema.build("predict.py:Predictor")
Answer = tuple[int, dict[str, Any], dict[str, str]]
OVERLOADED: Answer = (429, {"error": "Too many predictions wait.", "status": "failed"}, {"Retry-After": "1"})
STARTING: Answer = (503, {"error": "The service is starting.", "status": "failed"}, {"Retry-After": "0"})
REFUSED: Answer = (422, {"error": "There is no input 'x'.", "status": "failed"}, {})
NO_KEY: Answer = (401, {"error": "A key is needed.", "status": "failed"}, {})


@dataclass
class Script:
    """A server that makes a prediction in the moment when it is asked for it.

    Attributes
    ----------
    answers : what it answers in the place of its own reply, by method and route, each once
    drops : routes whose next request it hangs up on
    end : what it says of a prediction that has ended
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    end: dict[str, Any] = field(default_factory=lambda: {"status": "succeeded", "metrics": {"predict_time": 0.5}})
    schema: Any = field(default_factory=lambda: SCHEMA)
    adapters: list[dict[str, Any]] = field(default_factory=list)
    version: str = "1.0"
    clip: bytes = b""
    address: str = ""
    files_at: str = ""
    asked: list[tuple[str, float, dict[str, Any], str | None]] = field(default_factory=list)
    """Method and route, time, body and key of each request."""
    known: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self, route: str) -> list[float]:
        return [moment for asked, moment, *_ in self.asked if asked == route]

    def bodies(self) -> list[dict[str, Any]]:
        return [body["input"] for route, _, body, _ in self.asked if route == "PUT /predictions"]


class Handler(BaseHTTPRequestHandler):
    script: Script

    def answer(self) -> None:
        script, body = self.script, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        head, _, name = self.path.removeprefix("/").partition("/")
        route = f"{self.command} /{head}"
        with script.lock:
            content = json.loads(body) if "json" in self.headers.get("Content-Type", "") else {"content": body}
            script.asked.append((route, time.monotonic(), content, self.headers["Authorization"]))
            if script.drops[route]:
                script.drops[route] -= 1
                self.close_connection = True
                return
            status, content, headers = self.reply(route, name)
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def reply(self, route: str, name: str) -> tuple[int, Any, dict[str, str]]:
        script = self.script
        if script.answers.get(route):
            return script.answers[route].pop(0)
        if route == "GET /":
            return 200, {"service": "musicgen-service", "version": script.version}, {}
        if route == "GET /openapi.json":
            return 200, script.schema, {}
        if route == "GET /models":
            return 200, {"models": [], "adapters": script.adapters}, {}
        if route == "GET /files":
            return 200, script.clip, {}
        if route == "POST /files":
            return 201, {"id": "a1", "urls": {"get": f"{script.address}/files/a1/riff.wav"}}, {}
        if route == "DELETE /files":
            return 204, b"", {}
        if route == "PUT /predictions":
            script.known.add(name)
            return 202, {"id": name, "status": "starting"}, {}
        if name not in script.known:
            return 404, {"error": "There is no such prediction.", "status": "failed"}, {}
        output = [f"{script.files_at or script.address}/files/0/text-7-01.wav"]
        return 200, {"id": name, "output": output, **script.end}, {}

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def batch(script: Script, *arguments: str) -> None:
    cli.main(["batch", "list.jsonl", "out", "--no-analysis", "--server", script.address, *arguments])
