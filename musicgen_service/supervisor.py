"""Keeps Cog's server running: starts it, watches its health, starts it again, and ends it without losing work.

Cog's server outlives its own worker, and a setup that failed: it then refuses every request until somebody restarts it.
"""

import http.client
import json
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

import psutil

from musicgen_service.front import Front
from musicgen_service.progress import log

GLANCE = 0.5
"""Seconds between two looks at Cog's server."""
CHECKS = 3
"""Bad answers in a row after which it is started again: a health check may be late on a busy machine."""
BACK_OFF_FIRST, BACK_OFF_LAST = 1.0, 60.0
"""Seconds before a new start; each wait is twice the one before."""
STEADY = 60.0
"""Seconds of service after which the next wait is the shortest again."""
GIVING_UP = 5.0
"""Seconds for what is given up to end."""
_SETUP_FAILED = "SETUP_FAILED"
_ILL = ("UNHEALTHY", "DEFUNCT", _SETUP_FAILED)
_WELL = ("READY", "BUSY")


def longer(wait: float) -> float:
    """The next wait, in seconds, after trouble that came soon after a wait."""
    return min(max(2 * wait, BACK_OFF_FIRST), BACK_OFF_LAST)


class Supervisor:
    """One Cog server behind a front.

    Parameters
    ----------
    address : host and port for clients
    command, environment : what starts Cog's server, which listens at the port that `PORT` gives
    drain_seconds : how long predictions may go on after SIGTERM
    """

    def __init__(
        self, address: tuple[str, int], command: list[str], environment: Mapping[str, str], drain_seconds: float
    ) -> None:
        self._command = command
        self._drain_seconds = drain_seconds
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._answers = False
        self._well_since = math.inf
        self._stop = threading.Event()
        self.front = Front(address, self._behind)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; returns when everything has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threading.Thread(target=self.front.serve_forever, args=(0.1,), daemon=True).start()
        wait = 0.0
        self._start()
        while not self._stop.is_set():
            trouble = self._watch()
            if trouble is None:
                break
            wait = BACK_OFF_FIRST if time.monotonic() - self._well_since > STEADY else longer(wait)
            log(f"supervisor: {trouble}; starting it again in {wait:g} s")
            # After a setup that failed, the server goes on to say why until it is tried again.
            if _SETUP_FAILED not in trouble:
                self._end()
            if not self._stop.wait(wait):
                self._end()
                self._start()
        self._drain()
        self._end()
        self.front.shutdown()
        self.front.server_close()
        log("supervisor: ended")

    def _behind(self) -> int | None:
        return self._port if self._answers else None

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        # In a group of its own: Ctrl-C is for the supervisor alone, and the worker of a server that died can be found.
        environment = {**self._environment, "PORT": str(self._port)}
        self._process = subprocess.Popen(self._command, env=environment, start_new_session=True)
        self._well_since = math.inf

    def _watch(self) -> str | None:
        """Wait for trouble and say what it is; None when told to stop."""
        assert self._process is not None
        bad = 0
        while not self._stop.wait(GLANCE if self._answers else GLANCE / 10):
            if (ended := self._process.poll()) is not None:
                return f"the server ended with status {ended}"
            status = _status(self._port)
            if status in _WELL:
                self._well_since = min(self._well_since, time.monotonic())
            bad = bad + 1 if status in _ILL or (status is None and self._answers) else 0
            self._answers = self._answers or status is not None
            if bad == CHECKS:
                return f"the server is {status or 'silent'}"
        return None

    def _drain(self) -> None:
        """Take nothing new on; let what runs finish, and cancel what has not by the deadline."""
        self.front.draining = True
        end = time.monotonic() + self._drain_seconds
        log(f"supervisor: told to end; predictions have {self._drain_seconds:g} s to finish")
        if not self._wait_until_idle(end):
            log("supervisor: giving up what still runs")
            for name in self.front.running:
                _ask(self._port, "POST", f"/predictions/{name}/cancel")
            self.front.ended.set()
            self._wait_until_idle(time.monotonic() + GIVING_UP)

    def _wait_until_idle(self, end: float) -> bool:
        while self.front.waiting or _status(self._port) == "BUSY":
            if time.monotonic() > end:
                return False
            time.sleep(GLANCE / 10)
        return True

    def _end(self) -> None:
        """End the server and its worker, which outlives a server that died."""
        process, self._process, self._answers = self._process, None, False
        if process is None:
            return
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        process.terminate()
        psutil.wait_procs(family, timeout=5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _status(port: int) -> str | None:
    reply = _ask(port, "GET", "/health-check")
    return str(reply.get("status")) if reply else None


def _ask(port: int, method: str, path: str) -> dict[str, object] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        found: dict[str, object] = json.loads(connection.getresponse().read())
        return found
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
