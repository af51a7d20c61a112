"""A fake Cog server for tests of the proxy."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler


class Upstream(BaseHTTPRequestHandler):
    """Records requests, and echoes their headers."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, str, bytes]]
    resume: threading.Event
    disconnected: threading.Event

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append((self.command, self.path, body))
        if b"slow" in body:
            self.connection.settimeout(0.05)
            while not self.resume.is_set():
                try:
                    if not self.connection.recv(1, socket.MSG_PEEK):
                        self.disconnected.set()
                        return
                except TimeoutError:
                    continue
        reply = json.dumps({"id": "given", "headers": dict(self.headers), "long": "x" * 200_000}).encode()
        self.send_response(202 if self.headers.get("Prefer") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""
