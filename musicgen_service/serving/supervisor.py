"""Keeps Cog's server running: starts it, checks its health, restarts it, and stops it without losing work.

Cog's server outlives its own worker and a failed setup: it then refuses every request until it is restarted.
"""

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

import httpx2
import psutil

from musicgen_service import folders
from musicgen_service.outputs import COG_FOLDER as COG_FOLDER
from musicgen_service.progress import log
from musicgen_service.redaction import without_folders
from musicgen_service.serving import launcher
from musicgen_service.serving.gateway import Gateway, GatewayOptions

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
_REQUEST_TIMEOUT = 10.0
PREFIX = "musicgen-server-"
_METRICS_SOCKET = "metrics.sock"
_SETUP_FAILED = "SETUP_FAILED"
_UNHEALTHY = ("UNHEALTHY", "DEFUNCT", _SETUP_FAILED)
_HEALTHY = ("READY", "BUSY")
_SETUP_ERROR = re.compile(r".*setup failed: (?:\w+: )?", re.IGNORECASE | re.DOTALL)
"""Cog's prefix to the error message of a failed setup."""


def next_backoff(wait: float) -> float:
    """The next wait, in seconds, when the server failed again soon after a restart."""
    return min(max(2 * wait, MIN_BACKOFF), MAX_BACKOFF)


class Supervisor:
    """Runs one Cog server and the gateway that its clients talk to.

    Parameters
    ----------
    address : host and port for clients
    command, environment : start Cog's server, which listens on the port given by `PORT`
    prepare_folder : writes the files that the server needs to its working folder, which is new for each start
    drain_seconds : maximum time for predictions to finish after SIGTERM
    options : of the gateway

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
        options: GatewayOptions,
    ) -> None:
        self._command = [sys.executable, "-I", "-S", launcher.__file__, *command]
        self._prepare_folder = prepare_folder
        self._drain_seconds = drain_seconds
        self._environment = environment
        self._folder: folders.OwnFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._is_reachable = False
        self._healthy_since = math.inf
        self._stop = threading.Event()
        # For its own requests: the server is on this machine, and needs no certificates.
        self._http = httpx2.Client(timeout=_REQUEST_TIMEOUT, trust_env=False, verify=False)
        self._gateway = Gateway(address, self._upstream_port, _folder_problem, options, self._metrics_socket)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then drain; returns when everything has ended.

        SIGHUP, sent when the terminal closes, stops the service like the others; under `nohup` it is ignored.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self._stop.set())
        self._gateway.start()
        host, port = self._gateway.address
        log(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
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
                self._gateway.metrics.worker_restarts.inc()
        self._drain()
        self._stop_server()
        self._gateway.stop()
        self._http.close()
        log("supervisor: stopped")

    def _metrics_socket(self) -> Path | None:
        folder = self._folder
        return None if folder is None else folder.path / _METRICS_SOCKET

    def _upstream_port(self) -> int | None:
        return self._port if self._is_reachable else None

    def _start(self) -> str | None:
        """Start the server; returns the reason when it cannot be started."""
        availability = self._gateway.availability
        if availability.failure is not None:
            availability.failure = {"status": "STARTING", "reason": availability.failure["reason"]}
        self._healthy_since = math.inf
        try:
            self._folder = folders.OwnFolder(PREFIX)
            self._prepare_folder(self._folder.path)
            self._port = _free_port()
            # A separate process group, so that Ctrl-C reaches only the supervisor, and the worker of a crashed server
            # can be found. The launcher kills that group when the pipe to it closes, that is, when the supervisor ends.
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, "PORT": str(self._port), **self._own_variables(self._folder.path)},
                cwd=self._folder.path,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = _folder_problem() or f"The server could not be started: {error.strerror}."
            availability.failure = {"status": "STARTING", "reason": reason}
            return reason.rstrip(".")
        return None

    def _own_variables(self, folder: Path) -> dict[str, str]:
        """What the worker has to know of the gateway, and of its own working folder."""
        return {
            "MUSICGEN_AUDIO_SOCKET": str(self._gateway.audio_socket),
            "MUSICGEN_SERVED_FILES": str(self._gateway.files_folder),
            "MUSICGEN_METRICS_SOCKET": str(folder / _METRICS_SOCKET),
        }

    def _watch(self) -> str | None:
        """Wait until the server fails and return the reason; None when the service is to stop."""
        assert self._process is not None
        failed_checks = 0
        idle_since: float | None = None
        while not self._stop.wait(POLL_INTERVAL if self._is_reachable else POLL_INTERVAL / 10):
            if (ended := self._process.poll()) is not None:
                return f"the server ended with status {ended}"
            health = self._health()
            status = str(health.get("status")) if health else None
            if status in _HEALTHY:
                self._healthy_since = min(self._healthy_since, time.monotonic())
                self._gateway.availability.failure = None
            failed_checks = failed_checks + 1 if status in _UNHEALTHY or (status is None and self._is_reachable) else 0
            self._is_reachable = self._is_reachable or status is not None
            if health and status == _SETUP_FAILED:
                self._gateway.availability.failure = _failure(health)
            if failed_checks == MAX_FAILED_CHECKS:
                return f"the server is {status or 'not answering'}"
            if status != "BUSY" or self._gateway.running:
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > STUCK_AFTER:
                return "the server is busy without a prediction"
        return None

    def _drain(self) -> None:
        """Accept no new predictions; let the others finish, and give up those that have not at the deadline."""
        self._gateway.availability.draining = True
        log(f"supervisor: stopping; predictions have {self._drain_seconds:g} s to finish")
        if not self._wait_until_finished(self._drain_seconds):
            log("supervisor: cancelling the predictions that still run")
            self._gateway.give_up()
            self._wait_until_finished(CANCEL_TIMEOUT)

    def _wait_until_finished(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self._gateway.unfinished:
            if time.monotonic() > end:
                return False
            time.sleep(POLL_INTERVAL / 10)
        return True

    def _health(self) -> dict[str, Any] | None:
        """The content of the server's health check; None when there is no answer."""
        try:
            reply = self._http.get(f"http://127.0.0.1:{self._port}/health-check").json()
            return reply if isinstance(reply, dict) else None
        except (httpx2.HTTPError, ValueError):
            return None

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
