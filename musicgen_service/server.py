"""Starts Cog's own HTTP server for a predictor, without Docker."""

import os
import sys
from pathlib import Path

from musicgen_service import schema, systems


def serve(host: str, port: int, system: str | None = None) -> None:
    """Write the schema and become Cog's server, in a system's place or as ourselves; does not return."""
    predictor = systems.predictor(system)
    schema.write(systems.PROJECT, predictor)
    # The server starts its worker as plain `python`, which must be the interpreter that has coglet.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "COG_PREDICT_TYPE_STUB": predictor, "PORT": str(port)}
    environment.setdefault("LOG_FORMAT", "console")
    os.chdir(systems.PROJECT)
    os.execve(sys.executable, [sys.executable, "-m", "cog.server.http", "--host", host], environment)
