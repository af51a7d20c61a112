"""Runs the service: Cog's server, and the gateway before it, which it stops without losing work."""

import signal
import threading
import time

from musicgen_service.progress import log
from musicgen_service.serving.cog_process import POLL_INTERVAL, CogProcess, Host, folder_problem
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.gateway_options import GatewayOptions

CANCEL_TIMEOUT = 5.0
"""Seconds that cancelled predictions are given to end."""


class Supervisor:
    """Runs one Cog server and the gateway that its clients talk to.

    Parameters
    ----------
    address : host and port for clients
    process : Cog's server
    drain_seconds : maximum time for predictions to finish after SIGTERM
    options : of the gateway

    Raises
    ------
    OSError
        When it cannot listen at the address.
    """

    def __init__(
        self, address: tuple[str, int], process: CogProcess, drain_seconds: float, options: GatewayOptions
    ) -> None:
        self._process = process
        self._drain_seconds = drain_seconds
        self._gateway = Gateway(address, lambda: process.port, folder_problem, options, lambda: process.worker_socket)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then drain; returns when everything has ended.

        SIGHUP, sent when the terminal closes, stops the service like the others; under `nohup` it is ignored.
        """
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: stopping.set())
        self._gateway.start()
        host, port = self._gateway.address
        log(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
        variables = {
            "MUSICGEN_AUDIO_SOCKET": str(self._gateway.audio_socket),
            "MUSICGEN_SERVED_FILES": str(self._gateway.files_folder),
        }
        restarted = self._gateway.metrics.worker_restarts.inc
        self._process.keep_running(
            Host(self._gateway.availability, lambda: self._gateway.running, variables, restarted, stopping)
        )
        self._drain()
        self._process.stop()
        self._gateway.stop()
        log("supervisor: stopped")

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
