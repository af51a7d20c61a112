"""Serves a predictor over HTTP without Docker, with Cog's own server under supervision."""

import os
import sys
from pathlib import Path

from musicgen_service import folders, outputs, predictors, settings
from musicgen_service.serving import audio_socket, gateway, schema, supervisor
from musicgen_service.serving.gateway import GatewayOptions

MEMORY = {
    # Cog runs a prediction in any free thread, and glibc gives each thread an arena that it never returns: the worker
    # would grow by half within fifty predictions.
    "MALLOC_ARENA_MAX": "1",
    # oneDNN caches the last 1,024 compiled primitives, each for one shape, and torch as many of their descriptors;
    # every clip length adds new shapes: 2 MB and 0.3 MB.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
}
"""Environment variables that limit the worker's memory; variables already set are kept."""
NO_AUTHORITIES = {"SSL_CERT_FILE": str(Path(__file__).with_name("no_authority.pem")), "SSL_CERT_DIR": os.devnull}
"""Environment variables by which Cog's server trusts a single certificate authority, which signs nothing.

For each prediction with events it makes an HTTP client, which would read all authorities of the machine: 5 ms. It
connects to the gateway alone. What the worker fetches is checked against the authorities of `certifi`.
"""


class ServeError(RuntimeError):
    """The server cannot listen at its address."""


def serve(host: str, port: int, system: str | None = None) -> None:
    """Run Cog's server, with a drop-in predictor or our own, until a signal stops it.

    Raises
    ------
    ServeError
        When the address is in use, or binding to it is not permitted.
    """
    predictor, given = predictors.predictor(system), settings.load()
    overrides = {
        # The server starts its worker as plain `python`, which must be the interpreter with coglet installed.
        "PATH": _prepended("PATH", Path(sys.executable).parent),
        "PYTHONPATH": _prepended("PYTHONPATH", predictors.PROJECT),
        "COG_PREDICT_TYPE_STUB": str(predictors.PROJECT / predictor),
        "COG_MAX_CONCURRENCY": str(given.slots),
    }
    environment = {"LOG_FORMAT": "console"} | MEMORY | os.environ | NO_AUTHORITIES | overrides
    # With this set, Cog's server writes to a folder owned by root at every health check, and warns when it cannot.
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    command = [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"]
    for prefix in (supervisor.PREFIX, outputs.PREFIX, gateway.PREFIX, audio_socket.PREFIX):
        folders.sweep(prefix)
    try:
        server = supervisor.Supervisor(
            (host, port),
            command,
            environment,
            # Cog's server reads the schema from its working folder. Each server has a separate one: two servers of one
            # project may publish different schemas, and in a container an ordinary user cannot write to the project.
            lambda folder: schema.write(folder, predictor),
            given.drain_seconds,
            GatewayOptions(
                schema.build(predictor),
                given.slots,
                given.queue,
                given.connections_per_address,
                given.results,
                given.keep_seconds,
                given.metrics,
                given.access_log,
            ),
        )
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServeError(f"It is not possible to listen on {host}:{port}: {reason}.") from None
    server.run()
    folders.sweep(outputs.PREFIX)


def _prepended(variable: str, folder: Path) -> str:
    """The value of a path variable with a folder prepended."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
