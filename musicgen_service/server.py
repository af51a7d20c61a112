"""Serves a predictor over HTTP, without Docker: Cog's own server, supervised."""

import os
import sys
from pathlib import Path

from musicgen_service import schema, systems
from musicgen_service.supervisor import Supervisor


def serve(host: str, port: int, system: str | None = None) -> None:
    """Write the schema and run Cog's server, in a system's place or as ourselves, until told to end."""
    predictor = systems.predictor(system)
    try:
        schema.write(systems.PROJECT, predictor)
    except OSError:
        # In a container an ordinary user finds the one that `cog build` made.
        if system is not None or not (systems.PROJECT / schema.SCHEMA_FILE).is_file():
            raise
    # The server starts its worker as plain `python`, which must be the interpreter that has coglet.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "COG_PREDICT_TYPE_STUB": predictor}
    environment.setdefault("LOG_FORMAT", "console")
    os.chdir(systems.PROJECT)
    command = [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"]
    Supervisor((host, port), command, environment).run()
