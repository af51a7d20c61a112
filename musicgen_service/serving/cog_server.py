"""Serves a predictor over HTTP, without Docker: Cog's own server, supervised."""

import os
import sys
from pathlib import Path

from musicgen_service import folders, outputs, predictors, settings
from musicgen_service.serving import misspellings, schema, supervisor

MEMORY = {
    # Cog runs a prediction in whichever of its threads is free, and glibc gives each thread memory of its own that it
    # never returns: the worker would grow by half within fifty predictions.
    "MALLOC_ARENA_MAX": "1",
    # oneDNN keeps the last 1,024 operations that it compiled, each for one shape, and torch as many descriptions of
    # them; every length of a clip brings shapes of its own: 2 MB and 0.3 MB.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
}
"""Environment variables of the worker that limit its memory; those that are set already stay."""


class ServeError(RuntimeError):
    """The server cannot listen at its address."""


def serve(host: str, port: int, system: str | None = None) -> None:
    """Run Cog's server, as a drop-in for a system or as ourselves, until a signal stops it.

    Raises
    ------
    ServeError
        When the address is in use, or may not be listened at.
    """
    predictor = predictors.predictor(system)
    own = {
        # The server starts its worker as plain `python`, which must be the interpreter that has coglet.
        "PATH": _before("PATH", Path(sys.executable).parent),
        "PYTHONPATH": _before("PYTHONPATH", predictors.PROJECT),
        "COG_PREDICT_TYPE_STUB": str(predictors.PROJECT / predictor),
    }
    environment = {"LOG_FORMAT": "console"} | MEMORY | os.environ | own
    # Where this is set, Cog's server writes to a folder of root's at every health check, and warns when it may not.
    environment.pop("KUBERNETES_SERVICE_HOST", None)
    command = [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"]
    for prefix in (supervisor.PREFIX, outputs.PREFIX):
        folders.sweep(prefix)
    try:
        running = supervisor.Supervisor(
            (host, port),
            command,
            environment,
            # Cog's server reads the schema in the folder it is started in. It has one of its own: two servers of one
            # project may publish different schemas, and in a container an ordinary user cannot write into the project.
            lambda folder: schema.write(folder, predictor),
            settings.load().drain_seconds,
        )
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServeError(f"It is not possible to listen on {host}:{port}: {reason}.") from None
    running.proxy.inputs = misspellings.of_schema(schema.build(predictor))
    running.run()
    folders.sweep(outputs.PREFIX)


def _before(variable: str, folder: Path) -> str:
    """The value of a path variable with a folder before all others."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
