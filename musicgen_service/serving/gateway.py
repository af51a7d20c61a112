"""What clients talk to: an HTTP server before Cog's."""

from collections.abc import Callable
from pathlib import Path

from musicgen_service.serving import connections, http_server
from musicgen_service.serving.application import Application
from musicgen_service.serving.cog_client import CogClient
from musicgen_service.serving.gateway_options import GatewayOptions
from musicgen_service.serving.hosts import is_loopback


class Gateway(Application):
    """Answers clients in a thread of its own.

    Parameters
    ----------
    address : host and port to listen at
    upstream_port : returns the port of Cog's server on this machine, or None while it is not reachable
    folder_problem : returns a sentence saying why the files of a prediction cannot be written, or None
    options : what else may differ
    worker_socket : returns where the worker answers questions, or None while there is none

    Raises
    ------
    OSError
        When it cannot listen at the address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        upstream_port: Callable[[], int | None],
        folder_problem: Callable[[], str | None],
        options: GatewayOptions,
        worker_socket: Callable[[], Path | None] = lambda: None,
    ) -> None:
        listener = http_server.listen(*address)
        host, port = listener.getsockname()[:2]
        super().__init__(
            str(port),
            is_loopback(host),
            lambda availability, audio, _: CogClient(
                upstream_port, availability.start_problem, audio, options.slots, worker_socket
            ),
            folder_problem,
            options,
            worker_socket,
        )
        total = connections.max_connections()
        # Half of them at most, where that is fewer: one address leaves room for others.
        per_address = min(options.connections_per_address, max(1, total // 2))
        self.limits = connections.Limits(per_address, total, options.head_seconds)
        self.metrics.gauge("musicgen_connections", "Open connections of clients", self.limits.open.total)
        server = http_server.server(self.asgi, connections.protocol(self.limits), self.limits.total)
        self._thread = http_server.ServerThread(listener, server)
        self.address = self._thread.address

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to answer, and close every connection."""
        self._thread.stop()
