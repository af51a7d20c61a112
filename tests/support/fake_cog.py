"""A fake Cog server. The body of `POST /predictions` selects what it does: `crash`, `spawn`, `unhealthy`, `stuck`,
`slow`, `later`, `endless`.

Its setup fails as long as there is no file where `WEIGHTS` says there should be one.
"""

import json
import os
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

status = "READY" if Path(os.environ.get("WEIGHTS", __file__)).exists() else "SETUP_FAILED"
running: set[str] = set()


class Cog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        setup = {"logs": "worker setup failed: Setup failed: setup failed: WeightsError: /srv/weights is empty."}
        self._reply(200, {"status": status, "pid": os.getpid(), "setup": setup if status == "SETUP_FAILED" else {}})

    def do_PUT(self) -> None:
        """Answer as Cog does for a running prediction, and for a new one with an invalid input."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert not isinstance(request["input"], dict)
        name = self.path.rpartition("/")[2]
        if name in running:
            return self._reply(202, {"id": name, "status": "processing"})
        return self._reply(422, {"detail": [{"msg": "0 is not of type object"}]})

    def do_POST(self) -> None:
        global status
        if self.path.endswith("/cancel"):
            running.clear()
            status = "READY"
            print(f"cancelled {self.path}", flush=True)
            return self._reply(200, {})
        command = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if command == "crash":
            print(f"left behind: {subprocess.Popen(['sleep', '600']).pid}", flush=True)
            os._exit(3)
        if command == "spawn":
            subprocess.Popen(["sleep", "600"])
        if command == "unhealthy":
            status = "UNHEALTHY"
        if command == "stuck":
            status = "BUSY"
        if command == "later":
            status = "BUSY"
            running.add("later")
            return self._reply(202, {"id": "later"})
        if command == "slow":
            status = "BUSY"
            time.sleep(1)
            status = "READY"
        if command == "endless":
            status = "BUSY"
            time.sleep(600)
        return self._reply(200, {"word": command})

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
