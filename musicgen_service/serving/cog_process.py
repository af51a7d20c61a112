"""Keeps Cog's server running: starts it, checks its health, restarts it.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from musicgen_service import folders
from musicgen_service.outputs import COG_FOLDER as COG_FOLDER
from musicgen_service.progress import log
from musicgen_service.redaction import without_folders
from musicgen_service.serving import launcher
from musicgen_service.serving.availability import Availability

POLL_INTERVAL = 0.5
"""Seconds between two health checks of Cog's server."""
MAX_FAILED_CHECKS = 3
"""Consecutive failed health checks after which the server is restarted: one may be late on a busy machine."""
MIN_BACKOFF, MAX_BACKOFF = 1.0, 60.0
"""Seconds before a restart; each wait is twice the previous one."""
STABLE_AFTER = 60.0
"""Seconds of good health after which the backoff is reset to the minimum."""
STUCK_AFTER = 30.0
"""Seconds of being busy without a prediction before a restart; longer than a cancelled prediction takes to end."""
_REQUEST_TIMEOUT = 10.0
PREFIX = "musicgen-server-"
_WORKER_SOCKET = "worker.sock"
_SETUP_FAILED = "SETUP_FAILED"
_UNHEALTHY = ("UNHEALTHY", "DEFUNCT", _SETUP_FAILED)
_HEALTHY = ("READY", "BUSY")
_SETUP_ERROR = re.compile(r".*setup failed: (?:\w+: )?", re.IGNORECASE | re.DOTALL)
"""Cog's prefix to the error message of a failed setup."""


def next_backoff(wait: float) -> float:
    """The next wait, in seconds, when the server failed again soon after a restart."""
    return min(max(2 * wait, MIN_BACKOFF), MAX_BACKOFF)


@dataclass(frozen=True)
class Host:
    """What Cog's server runs for.

    Attributes
    ----------
    availability : is told how the server is
    running : returns the number of predictions that the server has been given
    variables : of its environment, by which its worker finds what is offered to it
    restarted : called when the server is started again
    stopping : set when the server is to run no longer
    """

    availability: Availability
    running: Callable[[], int]
    variables: Mapping[str, str]
    restarted: Callable[[], None] = lambda: None
    stopping: threading.Event = field(default_factory=threading.Event)


class CogProcess:
    """One Cog server.

    Parameters
    ----------
    command, environment : start it; it listens on the port given by `PORT`
    prepare_folder : writes the files that it needs to its working folder, which is new for each start
    """

    def __init__(
        self, command: list[str], environment: Mapping[str, str], prepare_folder: Callable[[Path], object]
    ) -> None:
        self._command = [sys.executable, "-I", "-S", launcher.__file__, *command]
        self._environment = environment
        self._prepare_folder = prepare_folder
        self._folder: folders.OwnFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._is_reachable = False
        self._healthy_since = math.inf
        # For its own requests: the server is on this machine, and needs no certificates.
        self._http = httpx2.Client(timeout=_REQUEST_TIMEOUT, trust_env=False, verify=False)

    @property
    def port(self) -> int | None:
        """The port of the server, or None while it is not reachable."""
        return self._port if self._is_reachable else None

    @property
    def worker_socket(self) -> Path | None:
        """Where the worker answers questions, or None while there is none."""
        folder = self._folder
        return None if folder is None else folder.path / _WORKER_SOCKET

    def keep_running(self, host: Host) -> None:
        """Start the server, and start it again whenever it fails, until it is to stop; it still runs then."""
        wait = 0.0
        while not host.stopping.is_set():
            problem = self._start(host) or self._watch(host)
            if problem is None:
                break
            wait = MIN_BACKOFF if time.monotonic() - self._healthy_since > STABLE_AFTER else next_backoff(wait)
            log(f"supervisor: {problem}; starting it again in {wait:g} s")
            # After a failed setup, the server keeps running and reports the reason until the next attempt.
            if _SETUP_FAILED not in problem:
                self._stop()
            if not host.stopping.wait(wait):
                self._stop()
                host.restarted()

    def stop(self) -> None:
        """Stop the server for good."""
        self._stop()
        self._http.close()

    def _start(self, host: Host) -> str | None:
        """Start the server; returns the reason when it cannot be started."""
        availability = host.availability
        if availability.failure is not None:
            availability.failure = {"status": "STARTING", "reason": availability.failure["reason"]}
        self._healthy_since = math.inf
        try:
            self._folder = folders.OwnFolder(PREFIX)
            self._prepare_folder(self._folder.path)
            self._port = _free_port()
            # A separate process group, so that Ctrl-C reaches only the supervisor, and the worker of a crashed server
            # can be found. The launcher kills that group when the pipe to it closes, that is, when this process ends.
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, **host.variables, **self._own_variables()},
                cwd=self._folder.path,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = folder_problem() or f"The server could not be started: {error.strerror}."
            availability.failure = {"status": "STARTING", "reason": reason}
            return reason.rstrip(".")
        return None

    def _own_variables(self) -> dict[str, str]:
        return {"PORT": str(self._port), "MUSICGEN_WORKER_SOCKET": str(self.worker_socket)}

    def _watch(self, host: Host) -> str | None:
        """Wait until the server fails and return the reason; None when the service is to stop."""
        assert self._process is not None
        failed_checks = 0
        idle_since: float | None = None
        while not host.stopping.wait(POLL_INTERVAL if self._is_reachable else POLL_INTERVAL / 10):
            if (ended := self._process.poll()) is not None:
                return f"the server ended with status {ended}"
            health = self._health()
            status = str(health.get("status")) if health else None
            if status in _HEALTHY:
                self._healthy_since = min(self._healthy_since, time.monotonic())
                host.availability.failure = None
            failed_checks = failed_checks + 1 if status in _UNHEALTHY or (status is None and self._is_reachable) else 0
            self._is_reachable = self._is_reachable or status is not None
            if health and status == _SETUP_FAILED:
                host.availability.failure = _failure(health)
            if failed_checks == MAX_FAILED_CHECKS:
                return f"the server is {status or 'not answering'}"
            if status != "BUSY" or host.running():
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > STUCK_AFTER:
                return "the server is busy without a prediction"
        return None

    def _health(self) -> dict[str, Any] | None:
        """The content of the server's health check; None when there is no answer."""
        try:
            reply = self._http.get(f"http://127.0.0.1:{self._port}/health-check").json()
            return reply if isinstance(reply, dict) else None
        except (httpx2.HTTPError, ValueError):
            return None

    def _stop(self) -> None:
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


def folder_problem() -> str | None:
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
