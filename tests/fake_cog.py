"""A server in Cog's place, which does what it is told: `POST /predictions` with `die`, `ill`, `slow` or `later`.

Its setup fails as long as there is no file where `WEIGHTS` says there should be one.
"""

import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

status = "READY" if Path(os.environ.get("WEIGHTS", __file__)).exists() else "SETUP_FAILED"
cancelled = threading.Event()


class Cog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(200, {"status": status, "pid": os.getpid()})

    def do_POST(self) -> None:
        global status
        if self.path.endswith("/cancel"):
            cancelled.set()
            status = "READY"
            print(f"cancelled {self.path}", flush=True)
            return self._reply(200, {})
        word = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if word == "die":
            print(f"left behind: {subprocess.Popen(['sleep', '600']).pid}", flush=True)
            os._exit(3)
        if word == "ill":
            status = "UNHEALTHY"
        if word == "later":
            status = "BUSY"
            return self._reply(202, {"id": "later"})
        if word == "slow":
            status = "BUSY"
            time.sleep(1)
            status = "READY"
        if word == "endless":
            status = "BUSY"
            time.sleep(600)
        return self._reply(200, {"word": word})

    def _reply(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Cog).serve_forever()
