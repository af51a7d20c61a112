"""Starts the real server, and sends requests to it as a client does."""

import base64
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile

from musicgen_service.folders import MARK
from musicgen_service.serving.schema import SCHEMA_FILE

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MUSICGEN_ALLOW_PRIVATE_URLS": "1",
    "MUSICGEN_REQUESTS_PER_MINUTE": "1000000",
    "MUSICGEN_AUDIO_SECONDS_PER_MINUTE": "1000000",
}
"""Settings of every server: tests serve files on the loopback interface, and all of them are one client."""
TIMEOUT = 120.0
"""Seconds after which a wait fails, generous for a busy machine."""


@dataclass(frozen=True)
class Clip:
    """An audio file from a reply."""

    mime: str
    content: bytes
    samples: np.ndarray
    """[samples, channels]"""
    rate: int

    @classmethod
    def from_uri(cls, uri: str) -> "Clip":
        """The file in a data URI, or at an address."""
        if uri.startswith("http"):
            reply = httpx.get(uri).raise_for_status()
            mime, content = reply.headers["content-type"], reply.content
        else:
            head, _, body = uri.partition(";base64,")
            mime, content = head.removeprefix("data:"), base64.b64decode(body)
        samples, rate = soundfile.read(io.BytesIO(content), always_2d=True)
        return cls(mime, content, samples, rate)

    @property
    def channels(self) -> int:
        return self.samples.shape[1]


@dataclass(frozen=True)
class Server:
    """A running server, its process and its own temporary folder."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    temp: Path
    log: Path

    def post(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        """POST /predictions."""
        return self.client.post("/predictions", json=body, headers=headers)

    def predict(self, **inputs: Any) -> dict[str, Any]:
        """The reply to one prediction, whether it succeeded or failed."""
        # The reply to the request before arrives a moment before its slot is free.
        wait_until(lambda: self.status() == "READY")
        response = self.post({"input": inputs})
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def make(self, **inputs: Any) -> list[Clip]:
        """The clips of a prediction that succeeds."""
        reply = self.predict(**inputs)
        assert reply["status"] == "succeeded", reply
        return [Clip.from_uri(uri) for uri in reply["output"]]

    def status(self) -> str:
        """The status that the server reports."""
        return str(self.client.get("/health-check").json()["status"])

    def is_idle(self) -> bool:
        """Whether its processes use next to no time, whatever its status: a cancelled prediction may go on."""
        before = self.processor_seconds()
        time.sleep(0.3)
        return self.processor_seconds() - before < 0.1

    def processor_seconds(self) -> float:
        """Processor time of its processes."""
        seconds = 0.0
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # an encoder may end meanwhile
                seconds += sum(process.cpu_times()[:2])
        return seconds

    def family(self) -> list[psutil.Process]:
        """Its processes."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def files(self) -> list[Path]:
        """Every file in the server's temporary folder, but for the schema it publishes and the marks of folders."""
        own = (SCHEMA_FILE.name, MARK)
        return [path for path in self.temp.rglob("*") if path.is_file() and path.name not in own]

    def worker(self) -> psutil.Process:
        workers = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # an encoder may end meanwhile
                if "_run_worker" in " ".join(process.cmdline()):
                    workers.append(process)
        [worker] = workers
        return worker

    def stop(self) -> int:
        """Stop the server as an operator would; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)


@contextmanager
def serving(
    command: list[str],
    folder: Path,
    temp: Path,
    *,
    status: str = "READY",
    python: str | Path = sys.executable,
    **settings: str,
) -> Iterator[Server]:
    """A server in `folder`, which has this status when the block begins; `--port` gets `PORT`, or a free one."""
    port = int(settings.get("PORT", 0)) or free_port()
    log = temp.with_suffix(".log")
    temp.mkdir(exist_ok=True)
    own = {"TMPDIR": str(temp), "PORT": str(port), "MUSICGEN_RESULTS": str(temp.with_suffix(".results"))}
    environment = os.environ | SETTINGS | own | settings
    with log.open("ab") as out:
        process = subprocess.Popen(
            [python, *command, *([str(port)] if command[-1] == "--port" else [])],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client:
            server = Server(client, process, temp, log)
            _wait_for_status(server, status)
            yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            # Cog's server has a group of its own.
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def _wait_for_status(server: Server, expected: str) -> None:
    def reached() -> bool:
        assert server.process.poll() is None, server.log.read_text()
        try:
            status = server.status()
        except httpx.TransportError:
            return False
        assert status in ("STARTING", expected), server.log.read_text()
        return status == expected

    wait_until(reached)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process is running; an ended one may still be listed until its parent has waited for it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """An unused port of the loopback interface, of those that no system gives to the connections of clients."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a thread alongside the block; the block ends when both have."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(TIMEOUT)


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yields the address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with http_server(partial(Quiet, directory=str(folder))) as address:
        yield address


@contextmanager
def http_server(handler: Any) -> Iterator[str]:
    """Run a server on the loopback interface; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def webhook() -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield webhook inputs for a request, and the list that receives the webhook's content.

    Other reports are left out: they may overtake each other.
    """
    reports: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reports.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with http_server(Hook) as address:
        yield {"webhook": address, "webhook_events_filter": ["completed"]}, reports


def data_uri(path: Path) -> str:
    """A file as a client sends it."""
    return f"data:audio/wav;base64,{base64.b64encode(path.read_bytes()).decode()}"
