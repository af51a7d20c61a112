"""A local fake of the Hugging Face hub with configurable failures."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"
CODEC = {"config.json": b"{}\n", "model.safetensors": b"codec" * 1000}
"""Files of a small repository."""
_LARGE = (".bin", ".th", ".safetensors")


@dataclass(frozen=True)
class Asked:
    """A request for the content of a file, and its first byte."""

    file: str
    start: int


@dataclass
class Hub:
    """Content and behaviour of the fake hub.

    Attributes
    ----------
    repositories : content by file name, by repository
    break_at : files whose connection breaks at this byte, once
    stall_at : files that stop arriving at this byte, until `recover`
    stays_down : whether a file whose connection broke is out of reach from then on
    corrupt : files sent with one wrong byte
    whole : files sent from their first byte on, whatever is asked for
    status : files, or repositories, answered with this HTTP status alone
    asked : every request for content, in order
    stalled : set when a file has stopped arriving
    """

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    break_at: dict[str, int] = field(default_factory=dict)
    stall_at: dict[str, int] = field(default_factory=dict)
    stays_down: bool = True
    corrupt: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    status: dict[str, int] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    recovered: threading.Event = field(default_factory=threading.Event)

    def add(self, repository: str, folder: Path) -> None:
        """Publish the files of a folder."""
        self.repositories[repository] = {file.name: file.read_bytes() for file in folder.iterdir()}

    def recover(self) -> None:
        """Remove all failures and recorded requests."""
        for switches in (self.break_at, self.stall_at, self.corrupt, self.status, self.asked):
            switches.clear()
        self.recovered.set()

    def information(self, repository: str) -> dict[str, object]:
        """The hub's response to a request for the metadata of a repository's files."""
        siblings = []
        for name, content in self.repositories[repository].items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            if name.endswith(_LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 134}
            siblings.append(entry)
        return {"id": repository, "sha": REVISION, "siblings": siblings, "private": False, "tags": []}


def git_digest(content: bytes) -> str:
    """The git blob hash of content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    """Run an empty hub at its `url` for the duration of the block."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/(.+?)(/revision/[^/]+)?", path):
            self._send_information(match[1])
        elif match := re.fullmatch(r"/(.+)/resolve/[^/]+/([^/]+)", path):
            self._resolve(match[1], match[2])
        elif match := re.fullmatch(r"/cdn/(.+)/([^/]+)", path):
            self._send_file(match[1], match[2])
        else:
            self.send_error(404)

    def _send_information(self, repository: str) -> None:
        if repository in self.hub.status:
            self.send_error(self.hub.status[repository])
        elif repository not in self.hub.repositories:
            self.send_error(401)  # the hub does not tell what is private from what is not there
        else:
            body = json.dumps(self.hub.information(repository)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _resolve(self, repository: str, name: str) -> None:
        """Small files are sent at once, large ones from elsewhere."""
        content = self.hub.repositories.get(repository, {}).get(name)
        if content is None:
            self.send_error(404)
        elif name.endswith(_LARGE):
            self.send_response(302)
            self.send_header("Location", f"{self.hub.url}/cdn/{repository}/{name}")
            self.send_header("X-Repo-Commit", REVISION)
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(repository, name)

    def _send_file(self, repository: str, name: str) -> None:
        hub, content = self.hub, self.hub.repositories[repository][name]
        if name in hub.status:
            self.send_error(hub.status[name])
            return
        byte_range = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(byte_range[1]) if byte_range else 0
        if name in hub.whole:
            byte_range, start = None, 0
        if self.command == "GET":
            hub.asked.append(Asked(name, start))
        if name in hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(206 if byte_range else 200)
        if byte_range:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{git_digest(content)}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in hub.break_at:
            self.wfile.write(content[start : hub.break_at.pop(name)])
            if hub.stays_down:
                hub.status[name] = 503
            self.close_connection = True
        elif name in hub.stall_at:
            self.wfile.write(content[start : hub.stall_at[name]])
            hub.stalled.set()
            hub.recovered.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(content[start:])
