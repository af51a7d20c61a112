"""A fake Cog server, in this process or as one of its own. A prediction's prompt says what it does:

| prompt | what |
|---|---|
| `crash`, `crash once` | the server ends; `once`: only if no file is where `CRASHED` says |
| `spawn` | starts a process that outlives it |
| `unhealthy`, `stuck` | its health is UNHEALTHY, or BUSY, from then on |
| `worker crash` | fails as when the worker dies, the first time; the next one finds no worker |
| `slow`, `endless` | takes a second, or until it is cancelled |
| `deaf`, `cut off` | the same, but the first cancel is forgotten, or makes it fail as Cog's own code does |
| `dying` | the same, but its worker dies when it is cancelled |
| `wait` | takes until `resume` is set; in a process of its own, until there is a file where `RESUME` says |
| `fail` | fails |
| `30 seconds` | reports that it was asked for so much audio |
| `who` | its output is the process of the server; that of others is their prompt |
| `music`, `mp3`, `long music` | sends two seconds (or minutes) of audio to listeners, the second half after `resume` |
| `broken music` | sends a second of audio, and its worker dies |
| `unended music` | the same as `music`, but all at once, and its end is said after `resume` |
| `late music` | the same as `music`, but the first time its worker dies before any audio |
| `loop` | says that it cannot be heard, and takes until `resume` is set |

The model that `model_version` names is in its memory afterwards, or else the demo, and a copy with the `adapter`.

Its setup fails as long as there is no file where `WEIGHTS` says there should be one.
"""

import base64
import json
import os
import select
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from musicgen_service.serving import worker_socket

LOG = "task text\n50 %\n"
PLAYED = ("music", "mp3", "long music", "broken music", "late music", "unended music", "loop")
WORKER_ERRORS = {
    1: "Worker crashed",
    2: "Failed to send request: Failed to send on slot socket: Broken pipe (os error 32)",
}


class FakeCog(ThreadingHTTPServer):
    """Carries out as many predictions at the same time as it has slots, and refuses others, as Cog does."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, slots: int = 1) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.slots = slots
        self.status = "READY" if Path(os.environ.get("WEIGHTS", __file__)).exists() else "SETUP_FAILED"
        self.running: dict[str, threading.Event] = {}
        self.resume = threading.Event()
        self.requests: list[dict[str, Any]] = []
        """The bodies of predictions that were accepted."""
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self.cancelled: list[str] = []
        self.audio_socket: Path | None = None
        """Where the gateway takes audio."""
        self.lock = threading.Lock()
        self.loaded: set[str] = set()
        """Labels of the models in memory."""

    def forget(self) -> None:
        """Forget every request, and let those to come wait for `resume`."""
        self.requests, self.headers, self.cancelled, self.refused = [], [], [], 0
        self.resume.clear()

    @property
    def prompts(self) -> list[str]:
        return [request["input"].get("prompt", "") for request in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is normal."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeCog
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        setup = {"logs": "worker setup failed: Setup failed: setup failed: WeightsError: /srv/weights is empty."}
        status = self.server.status
        if status == "READY" and len(self.server.running) >= self.server.slots:
            status = "BUSY"
        self._reply(200, {"status": status, "pid": os.getpid(), "setup": setup if status == "SETUP_FAILED" else {}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/cancel"):
            key = self.path.split("/")[2]
            cancelled = self.server.running.get(key)
            if cancelled is None:
                return self._reply(404, {})
            prompt = next(request["input"].get("prompt") for request in self.server.requests if request["id"] == key)
            is_heard = prompt != "deaf" or key in self.server.cancelled
            self.server.cancelled.append(key)
            if is_heard:
                cancelled.set()
            print(f"cancelled {self.path}", flush=True)
            return self._reply(200, {})
        assert self.path == "/predictions", self.path
        request = json.loads(body)
        key = request["id"]
        with self.server.lock:
            if len(self.server.running) >= self.server.slots or self.server.status == "UNHEALTHY":
                self.server.refused += 1
                return self._reply(409, {"error": "At capacity - all prediction slots busy", "status": "failed"})
            self.server.running[key] = threading.Event()
        self.server.requests.append(request)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        try:
            reply = {"id": key, "logs": "", "metrics": {"predict_time": 0.1}} | self._carry_out(request)
        finally:
            with self.server.lock:
                del self.server.running[key]
        return self._reply(200, reply)

    def _carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        hook, prompt = request.get("webhook"), str(request["input"].get("prompt", ""))
        event = {"id": request["id"], "logs": "", "metrics": {}, "status": "processing"}
        _tell(hook, event)
        _tell(hook, event | {"logs": LOG})
        model = self._load(request["input"])
        ended = self._act(prompt, self.server.running[request["id"]], request.get("context", {}))
        result: dict[str, Any] = {"status": ended}
        if request["input"].keys() & {"model_version", "adapter"}:
            result["metrics"] = {"model": model}
        if ended == "succeeded":
            said = str(os.getpid()) if prompt == "who" else prompt
            output = base64.b64encode(said.encode()).decode()
            result["output"] = [f"data:audio/wav;base64,{output}"]
            if prompt == "30 seconds":
                result["metrics"] = {"audio_seconds": 30.0}
            return result | {"logs": LOG}
        if ended == "failed":
            result["error"] = "Prediction failed: Async prediction failed: x"
            if prompt == "cut off":
                result["error"] = "Prediction failed: Failed to submit coroutine: CancelationException: "
            if prompt == "worker crash":
                result["error"] = WORKER_ERRORS[self.server.prompts.count(prompt)]
            if prompt in ("broken music", "late music", "dying"):
                result["error"] = WORKER_ERRORS[1]
        _tell(hook, event | {"logs": LOG + "more\n"} | result)
        return result

    def _load(self, inputs: dict[str, Any]) -> str:
        """Load the model that a request needs; returns the name of its checkpoint."""
        adapter = inputs.get("adapter")
        with_adapter = [label for label in self.server.loaded if f" + {adapter}:" in label]
        model = str(inputs.get("model_version") or (with_adapter or ["demo"])[0].partition(" + ")[0])
        self.server.loaded |= {model} | ({f"{model} + {adapter}:1 (0123456789ab)"} if adapter else set())
        return model

    def _act(self, prompt: str, cancelled: threading.Event, context: dict[str, str]) -> str:
        if prompt == "crash" or (prompt == "crash once" and _is_first()):
            print(f"left behind: {subprocess.Popen(['sleep', '600']).pid}", flush=True)
            os._exit(3)
        if prompt == "spawn":
            subprocess.Popen(["sleep", "600"])
        if prompt in ("unhealthy", "stuck"):
            self.server.status = {"unhealthy": "UNHEALTHY", "stuck": "BUSY"}[prompt]
        if prompt == "worker crash":
            return "failed" if self.server.prompts.count(prompt) < 3 else "succeeded"
        if prompt == "fail":
            return "failed"
        if prompt in PLAYED:
            from tests.support import fake_audio  # which loads numpy, and a process of its own should start fast

            return fake_audio.play(self.server, prompt, context, cancelled)
        seconds = {"slow": 1.0, "endless": 600.0, "wait": 600.0, "deaf": 600.0, "cut off": 600.0, "dying": 600.0}.get(
            prompt, 0.0
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (prompt == "wait" and self.server.resume.is_set()):
            if cancelled.wait(0.02) or self._is_gone():
                return "failed" if prompt in ("cut off", "dying") else "canceled"
        return "succeeded"

    def _is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _reply(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def _tell(hook: str | None, event: dict[str, Any]) -> None:
    if hook is None:
        return
    with urllib.request.urlopen(urllib.request.Request(hook, json.dumps(event).encode())) as reply:
        assert reply.status == 200


def _is_first() -> bool:
    mark = Path(os.environ["CRASHED"])
    is_first = not mark.exists()
    mark.touch()
    return is_first


@contextmanager
def fake_cog(slots: int = 1) -> Iterator[FakeCog]:
    """Run one in this process."""
    server = FakeCog(slots=slots)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _FlagFile(threading.Event):
    """Is set when there is a file where `RESUME` says."""

    def is_set(self) -> bool:
        return "RESUME" in os.environ and Path(os.environ["RESUME"]).exists()


def _main() -> None:
    """Run one as a process of its own, as the supervisor starts it."""
    server = FakeCog(int(os.environ["PORT"]), int(os.environ.get("COG_MAX_CONCURRENCY", "1")))
    server.resume = _FlagFile()
    if audio_socket := os.environ.get("MUSICGEN_AUDIO_SOCKET"):
        server.audio_socket = Path(audio_socket)
    if path := os.environ.get("MUSICGEN_WORKER_SOCKET"):
        worker_socket.publish({worker_socket.MODELS: lambda: json.dumps(list(server.loaded)).encode()}, Path(path))
    server.serve_forever()


if __name__ == "__main__":
    _main()
