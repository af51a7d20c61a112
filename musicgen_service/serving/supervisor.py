"""Keeps Cog's server running: starts it, checks its health, restarts it, and stops it without losing work.

Cog's server outlives its own worker and a failed setup: it then refuses every request until it is restarted.
"""

import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from musicgen_service import folders
from musicgen_service.outputs import COG_FOLDER as COG_FOLDER
from musicgen_service.progress import log
from musicgen_service.redaction import without_folders
from musicgen_service.serving import launcher
from musicgen_service.serving.proxy import Proxy

POLL_INTERVAL = 0.5
"""Seconds between two health checks of Cog's server."""
MAX_FAILED_CHECKS = 3
"""Consecutive failed health checks after which the server is restarted: one may be late on a busy machine."""
MIN_BACKOFF, MAX_BACKOFF = 1.0, 60.0
"""Seconds before a restart; each wait is twice the previous one."""
STABLE_AFTER = 60.0
"""Seconds of good health after which the backoff is reset to the minimum."""
CANCEL_TIMEOUT = 5.0
"""Seconds that cancelled predictions are given to end."""
STUCK_AFTER = 30.0
"""Seconds of being busy without a prediction before a restart; longer than a cancelled prediction takes to end."""
PREFIX = "musicgen-server-"
_SETUP_FAILED = "SETUP_FAILED"
_UNHEALTHY = ("UNHEALTHY", "DEFUNCT", _SETUP_FAILED)
_HEALTHY = ("READY", "BUSY")
_SETUP_ERROR = re.compile(r".*setup failed: (?:\w+: )?", re.IGNORECASE | re.DOTALL)
"""Cog's prefix to the error message of a failed setup."""


def next_backoff(wait: float) -> float:
    """The next wait, in seconds, when the server failed again soon after a restart."""
    return min(max(2 * wait, MIN_BACKOFF), MAX_BACKOFF)


class Supervisor:
    """Runs one Cog server and a proxy for its clients.

    Parameters
    ----------
    address : host and port for clients
    command, environment : start Cog's server, which listens on the port given by `PORT`
    prepare_folder : writes the files that the server needs to its working folder, which is new for each start
    drain_seconds : maximum time for running predictions to finish after SIGTERM

    Raises
    ------
    OSError
        When it cannot listen at the address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        command: list[str],
        environment: Mapping[str, str],
        prepare_folder: Callable[[Path], object],
        drain_seconds: float,
    ) -> None:
        self._command = [sys.executable, "-I", "-S", launcher.__file__, *command]
        self._environment = environment
        self._prepare_folder = prepare_folder
        self._drain_seconds = drain_seconds
        self._folder: folders.OwnFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._is_reachable = False
        self._healthy_since = math.inf
        self._stop = threading.Event()
        self.proxy = Proxy(address, self._upstream_port, _folder_problem)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then drain; returns when everything has ended.

        SIGHUP, sent when the terminal closes, stops the service like the others; under `nohup` it is ignored.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self._stop.set())
        threading.Thread(target=self.proxy.serve_forever, args=(0.1,), daemon=True).start()
        host, port = self.proxy.server_address[:2]
        log(f"listening on http://{host!s}:{port}")
        wait = 0.0
        while not self._stop.is_set():
            problem = self._start() or self._watch()
            if problem is None:
                break
            wait = MIN_BACKOFF if time.monotonic() - self._healthy_since > STABLE_AFTER else next_backoff(wait)
            log(f"supervisor: {problem}; starting it again in {wait:g} s")
            # After a failed setup, the server keeps running and reports the reason until the next attempt.
            if _SETUP_FAILED not in problem:
                self._stop_server()
            if not self._stop.wait(wait):
                self._stop_server()
        self._drain()
        self._stop_server()
        self.proxy.shutdown()
        self.proxy.server_close()
        log("supervisor: stopped")

    def _upstream_port(self) -> int | None:
        return self._port if self._is_reachable else None

    def _start(self) -> str | None:
        """Start the server; returns the reason when it cannot be started."""
        if self.proxy.failure is not None:
            self.proxy.failure = {"status": "STARTING", "reason": self.proxy.failure["reason"]}
        self._healthy_since = math.inf
        try:
            self._folder = folders.OwnFolder(PREFIX)
            self._prepare_folder(self._folder.path)
            self._port = _free_port()
            # A separate process group, so that Ctrl-C reaches only the supervisor, and the worker of a crashed server
            # can be found. The launcher kills that group when the pipe to it closes, that is, when the supervisor ends.
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, "PORT": str(self._port)},
                cwd=self._folder.path,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = _folder_problem() or f"The server could not be started: {error.strerror}."
            self.proxy.failure = {"status": "STARTING", "reason": reason}
            return reason.rstrip(".")
        return None

    def _watch(self) -> str | None:
        """Wait until the server fails and return the reason; None when the service is to stop."""
        assert self._process is not None
        failed_checks = 0
        idle_since: float | None = None
        while not self._stop.wait(POLL_INTERVAL if self._is_reachable else POLL_INTERVAL / 10):
            if (ended := self._process.poll()) is not None:
                return f"the server ended with status {ended}"
            health = _request(self._port, "GET", "/health-check")
            status = str(health.get("status")) if health else None
            if status in _HEALTHY:
                self._healthy_since = min(self._healthy_since, time.monotonic())
                self.proxy.failure = None
            failed_checks = failed_checks + 1 if status in _UNHEALTHY or (status is None and self._is_reachable) else 0
            self._is_reachable = self._is_reachable or status is not None
            if health and status == _SETUP_FAILED:
                self.proxy.failure = _failure(health)
            if failed_checks == MAX_FAILED_CHECKS:
                return f"the server is {status or 'not answering'}"
            if status != "BUSY" or self._has_predictions():
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > STUCK_AFTER:
                return "the server is busy without a prediction"
        return None

    def _has_predictions(self) -> bool:
        """Whether a client is waiting for a prediction, or Cog is running an asynchronous one."""
        return self.proxy.waiting > 0 or any(self._is_running(name) for name in list(self.proxy.running))

    def _is_running(self, name: str) -> bool:
        """Whether Cog is running the prediction with that id.

        Cog has no endpoint for this. While the prediction runs, Cog answers a repeated PUT with its state; afterwards
        the PUT would start a new prediction, which the invalid input prevents.
        """
        reply = _request(self._port, "PUT", f"/predictions/{name}", {"input": 0})
        if reply is not None and "status" in reply and reply.get("id") == name:
            return True
        with suppress(ValueError):
            self.proxy.running.remove(name)
        return False

    def _drain(self) -> None:
        """Accept no new predictions; let running ones finish, and cancel those still running at the deadline."""
        self.proxy.draining = True
        end = time.monotonic() + self._drain_seconds
        log(f"supervisor: stopping; predictions have {self._drain_seconds:g} s to finish")
        if not self._wait_until_idle(end):
            log("supervisor: cancelling the predictions that still run")
            for name in self.proxy.running:
                _request(self._port, "POST", f"/predictions/{name}/cancel")
            self.proxy.ended.set()
            self._wait_until_idle(time.monotonic() + CANCEL_TIMEOUT)

    def _wait_until_idle(self, end: float) -> bool:
        while self._has_predictions():
            if time.monotonic() > end:
                return False
            time.sleep(POLL_INTERVAL / 10)
        return True

    def _stop_server(self) -> None:
        """Stop the server and its worker, which survives a crash of the server, and remove their working folder."""
        process, self._process, self._is_reachable = self._process, None, False
        if process is not None:
            _stop_group(process)
        if self._folder is not None:
            self._folder.remove()
            self._folder = None


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, the leader of its group, then kill what is left of the group."""
    with process:  # closes its pipe
        try:
            processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            processes = []
        process.terminate()
        psutil.wait_procs(processes, timeout=5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _failure(health: Mapping[str, Any]) -> dict[str, Any]:
    """The `/health-check` response after a failed setup: Cog's own content, and the reason as a sentence."""
    setup = health.get("setup") or {}
    reason = _SETUP_ERROR.sub("", str(setup.get("logs", "")).strip()) or "The setup failed."
    return {"status": _SETUP_FAILED, "reason": without_folders(reason), "setup": setup}


def _folder_problem() -> str | None:
    """The reason why Cog or its worker cannot write the files of a prediction, or None."""
    return folders.problem() or folders.problem(_nearest_existing(COG_FOLDER))


def _nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest existing one above it."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return _nearest_existing(folder.parent)
    except OSError:
        pass  # the attempt to write there will report why
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _request(port: int, method: str, path: str, content: object = None) -> dict[str, Any] | None:
    """Send a request to Cog's server; returns the JSON object in its response, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = None if content is None else json.dumps(content)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = json.loads(connection.getresponse().read())
        return reply if isinstance(reply, dict) else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
