"""Keeps Cog's server running: starts it, watches its health, starts it again, and ends it without losing work.

Cog's server outlives its own worker, and a setup that failed: it then refuses every request until somebody restarts it.
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
from musicgen_service.progress import log
from musicgen_service.redaction import without_folders
from musicgen_service.serving import launcher
from musicgen_service.serving.proxy import Front

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
LOST_AFTER = 30.0
"""Seconds of being busy with nothing: more than a cancelled prediction takes to notice that it is."""
PREFIX = "musicgen-server-"
COG_FOLDER = Path("/tmp/coglet/predictions")
"""Cog makes a folder for each prediction there. Where it cannot, its slot is lost: it stays busy for ever."""
_SETUP_FAILED = "SETUP_FAILED"
_ILL = ("UNHEALTHY", "DEFUNCT", _SETUP_FAILED)
_WELL = ("READY", "BUSY")
_SETUP_ERROR = re.compile(r".*setup failed: (?:\w+: )?", re.IGNORECASE | re.DOTALL)
"""What Cog puts before the message of the error that ended a setup."""


def longer(wait: float) -> float:
    """The next wait, in seconds, after trouble that came soon after a wait."""
    return min(max(2 * wait, BACK_OFF_FIRST), BACK_OFF_LAST)


class Supervisor:
    """One Cog server behind a front.

    Parameters
    ----------
    address : host and port for clients
    command, environment : what starts Cog's server, which listens at the port that `PORT` gives
    furnish : puts into the server's working folder, a new one for each start, what it needs there
    drain_seconds : how long predictions may go on after SIGTERM

    Raises
    ------
    OSError
        When it may not listen at the address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        command: list[str],
        environment: Mapping[str, str],
        furnish: Callable[[Path], object],
        drain_seconds: float,
    ) -> None:
        self._command = [sys.executable, "-I", "-S", launcher.__file__, *command]
        self._environment = environment
        self._furnish = furnish
        self._drain_seconds = drain_seconds
        self._folder: folders.OwnFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._answers = False
        self._well_since = math.inf
        self._stop = threading.Event()
        self.front = Front(address, self._behind, _trouble_with_folders)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then drain; returns when everything has ended.

        SIGHUP says that the terminal has gone, so it is an end like the others; under `nohup` it stays ignored.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self._stop.set())
        threading.Thread(target=self.front.serve_forever, args=(0.1,), daemon=True).start()
        host, port = self.front.server_address[:2]
        log(f"listening on http://{host!s}:{port}")
        wait = 0.0
        while not self._stop.is_set():
            trouble = self._start() or self._watch()
            if trouble is None:
                break
            wait = BACK_OFF_FIRST if time.monotonic() - self._well_since > STEADY else longer(wait)
            log(f"supervisor: {trouble}; starting it again in {wait:g} s")
            # After a setup that failed, the server goes on to say why until it is tried again.
            if _SETUP_FAILED not in trouble:
                self._end()
            if not self._stop.wait(wait):
                self._end()
        self._drain()
        self._end()
        self.front.shutdown()
        self.front.server_close()
        log("supervisor: ended")

    def _behind(self) -> int | None:
        return self._port if self._answers else None

    def _start(self) -> str | None:
        """Start the server; says why when it cannot be."""
        if self.front.failure is not None:
            self.front.failure = {"status": "STARTING", "reason": self.front.failure["reason"]}
        self._well_since = math.inf
        try:
            self._folder = folders.OwnFolder(PREFIX)
            self._furnish(self._folder.path)
            self._port = _free_port()
            # In a group of its own: Ctrl-C is for the supervisor alone, and the worker of a server that died can be
            # found. The launcher ends that group when the pipe to it closes, so with the supervisor.
            self._process = subprocess.Popen(
                self._command,
                env={**self._environment, "PORT": str(self._port)},
                cwd=self._folder.path,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            reason = _trouble_with_folders() or f"The server could not be started: {error.strerror}."
            self.front.failure = {"status": "STARTING", "reason": reason}
            return reason.rstrip(".")
        return None

    def _watch(self) -> str | None:
        """Wait for trouble and say what it is; None when told to stop."""
        assert self._process is not None
        bad = 0
        idle_since: float | None = None
        while not self._stop.wait(GLANCE if self._answers else GLANCE / 10):
            if (ended := self._process.poll()) is not None:
                return f"the server ended with status {ended}"
            health = _ask(self._port, "GET", "/health-check")
            status = str(health.get("status")) if health else None
            if status in _WELL:
                self._well_since = min(self._well_since, time.monotonic())
                self.front.failure = None
            bad = bad + 1 if status in _ILL or (status is None and self._answers) else 0
            self._answers = self._answers or status is not None
            if health and status == _SETUP_FAILED:
                self.front.failure = _failure(health)
            if bad == CHECKS:
                return f"the server is {status or 'silent'}"
            if status != "BUSY" or self._predicts():
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > LOST_AFTER:
                return "the server is busy with nothing"
        return None

    def _predicts(self) -> bool:
        """Whether a client waits for a prediction, or Cog runs an asynchronous one."""
        return self.front.waiting > 0 or any(self._runs(name) for name in list(self.front.running))

    def _runs(self, name: str) -> bool:
        """Whether Cog runs the prediction of that id.

        Cog has no request for that alone. It answers the same PUT once more with the prediction's state as long as
        the prediction runs; afterwards it would start it again, were its input not one that no predictor takes.
        """
        reply = _ask(self._port, "PUT", f"/predictions/{name}", {"input": 0})
        if reply is not None and "status" in reply and reply.get("id") == name:
            return True
        with suppress(ValueError):
            self.front.running.remove(name)
        return False

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
        while self.front.waiting or (self._is_busy() and self._predicts()):
            if time.monotonic() > end:
                return False
            time.sleep(GLANCE / 10)
        return True

    def _is_busy(self) -> bool:
        health = _ask(self._port, "GET", "/health-check") or {}
        return health.get("status") == "BUSY"

    def _end(self) -> None:
        """End the server and its worker, which outlives a server that died, and remove their working folder."""
        process, self._process, self._answers = self._process, None, False
        if process is not None:
            _end_group(process)
        if self._folder is not None:
            self._folder.remove()
            self._folder = None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process, the leader of its group, and then whatever is left of the group."""
    with process:  # closes its pipe
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            family = []
        process.terminate()
        psutil.wait_procs(family, timeout=5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _failure(health: Mapping[str, Any]) -> dict[str, Any]:
    """What `/health-check` says of a setup that failed: Cog's own words, and the reason as a sentence."""
    setup = health.get("setup") or {}
    reason = _SETUP_ERROR.sub("", str(setup.get("logs", "")).strip()) or "The setup failed."
    return {"status": _SETUP_FAILED, "reason": without_folders(reason), "setup": setup}


def _trouble_with_folders() -> str | None:
    """Why Cog or its worker could not write what a prediction needs, or None."""
    return folders.trouble() or folders.trouble(_existing(COG_FOLDER))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return _existing(folder.parent)
    except OSError:
        pass  # whoever writes there will find out why
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(port: int, method: str, path: str, content: object = None) -> dict[str, Any] | None:
    """The reply of Cog's server, or None when there is none that can be understood."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = None if content is None else json.dumps(content)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        found = json.loads(connection.getresponse().read())
        return found if isinstance(found, dict) else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
