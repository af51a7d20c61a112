"""Serves a predictor over HTTP without Docker, with Cog's own server under supervision."""

import asyncio
import os
import sys
from pathlib import Path

from musicgen_service import folders, outputs, predictors, settings
from musicgen_service.serving import (
    adapted_models,
    application,
    audio_socket,
    bodies,
    cog_process,
    connections,
    http_server,
    schema,
    supervisor,
    trainings,
)
from musicgen_service.serving.api_keys import ApiKeys
from musicgen_service.serving.cog_process import CogProcess
from musicgen_service.serving.gateway_options import GatewayOptions
from musicgen_service.serving.hosts import is_loopback
from musicgen_service.serving.models import ModelNameError, Models
from musicgen_service.serving.outbound import Address, AddressError
from musicgen_service.settings import Settings

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
NO_AUTHORITIES = {"SSL_CERT_FILE": str(Path(__file__).with_name("no_authority.crt")), "SSL_CERT_DIR": os.devnull}
"""Environment variables by which Cog's server trusts a single certificate authority, which signs nothing.

For each prediction with events it makes an HTTP client, which would read all authorities of the machine: 5 ms. It
connects to the gateway alone. What the worker fetches is checked against the authorities of `certifi`.
"""


class ServeError(RuntimeError):
    """The server cannot, or must not, listen at its address, or its settings do not fit together."""


def serve(
    host: str, port: int, system: str | None = None, *, insecure: bool = False, upload_url: str | None = None
) -> None:
    """Run Cog's server, with a drop-in predictor or our own, until a signal stops it.

    Parameters
    ----------
    host, port : where clients reach it
    system : whose drop-in it is; None for our own predictor
    insecure : whether others than this machine may use it without an API key
    upload_url : below which the files of results are put, if anywhere

    Raises
    ------
    ServeError
        When the address is in use, or binding to it is not permitted, or it is not this machine's own and nobody
        needs a key, or a setting does not fit.
    KeysError
        When the file of API keys cannot be used.
    """
    given = settings.load()
    options = gateway_options(given, system, upload_url)
    sweep()
    connections.raise_descriptor_limit()
    try:
        if options.keys is None and not insecure and not is_loopback(http_server.resolve(host, port)):
            raise ServeError(
                f"To listen on {host}, which others than this machine may reach, name a file of API keys in "
                "MUSICGEN_API_KEYS_FILE (`keys add` makes one), or let everybody in with --insecure."
            )
        server = supervisor.Supervisor((host, port), process(given, system), given.drain_seconds, options)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServeError(f"It is not possible to listen on {host}:{port}: {reason}.") from None
    server.run()
    folders.sweep(outputs.PREFIX)


def process(given: Settings, system: str | None = None) -> CogProcess:
    """Cog's server, not started yet.

    Parameters
    ----------
    given : the settings
    system : whose drop-in it is; None for our own predictor
    """
    predictor = predictors.predictor(system)
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
    # Cog's server reads the schema from its working folder. Each server has a separate one: two servers of one project
    # may publish different schemas, and in a container an ordinary user cannot write to the project.
    return CogProcess(command, environment, lambda folder: schema.write(folder, predictor))


def gateway_options(given: Settings, system: str | None = None, upload_url: str | None = None) -> GatewayOptions:
    """What the settings say of a gateway.

    Parameters
    ----------
    given : the settings
    system : whose drop-in is served; None for our own predictor
    upload_url : below which the files of results are put, if anywhere

    Raises
    ------
    ServeError
        When they do not fit together.
    KeysError
        When the file of API keys cannot be used.
    """
    try:
        models = Models.load(system, given.model_names, adapted_models.named, adapted_models.of_version)
    except ModelNameError as error:
        raise ServeError(str(error)) from None
    if upload_url is not None:
        try:
            asyncio.run(Address.check(upload_url))
        except AddressError as error:
            raise ServeError(f"--upload-url {error}") from None
    return GatewayOptions(
        models,
        slots=given.slots,
        places=given.queue,
        connections_per_address=given.connections_per_address,
        head_seconds=given.head_seconds,
        body_limits=bodies.Limits(int(given.max_body_mb * 2**20), given.body_seconds),
        keys=None if given.api_keys_file is None else ApiKeys(given.api_keys_file),
        hosts=given.hosts,
        origins=given.cors_origins,
        requests_per_minute=given.requests_per_minute,
        max_audio_seconds=given.max_audio_seconds,
        audio_seconds_per_minute=given.audio_seconds_per_minute,
        prediction_seconds=given.prediction_seconds,
        results=given.results,
        keep_seconds=given.keep_seconds,
        metrics=given.metrics,
        access_log=given.access_log,
        max_upload=int(given.max_input_mb * 2**20),
        max_archive=int(given.max_songs_mb * 2**20) if given.trainings else 0,
        max_uploads=int(given.max_uploads_mb * 2**20),
        webhook_secret=given.webhook_secret,
        upload_url=upload_url,
        trainings=given.trainings,
        public_url=given.public_url,
    )


def sweep() -> None:
    """Remove the temporary folders of services that were killed."""
    for prefix in (cog_process.PREFIX, outputs.PREFIX, application.PREFIX, audio_socket.PREFIX, trainings.PREFIX):
        folders.sweep(prefix)


def _prepended(variable: str, folder: Path) -> str:
    """The value of a path variable with a folder prepended."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
