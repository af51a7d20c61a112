"""Starts Cog's own HTTP server for the predictor, without Docker."""

import os
import sys
from pathlib import Path

from musicgen_service import schema

PREDICTOR = "predict.py:Predictor"
PROJECT = Path(__file__).resolve().parents[1]


def serve(host: str, port: int) -> None:
    """Write the schema and become Cog's server; does not return."""
    schema.write(PROJECT, PREDICTOR)
    # The server starts its worker as plain `python`, which must be the interpreter that has coglet.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "COG_PREDICT_TYPE_STUB": PREDICTOR, "PORT": str(port)}
    environment.setdefault("LOG_FORMAT", "console")
    os.chdir(PROJECT)
    os.execve(sys.executable, [sys.executable, "-m", "cog.server.http", "--host", host], environment)
