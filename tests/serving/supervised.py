"""A supervisor with a fake Cog server in a process of its own, and what tests ask of it."""

import httpx
import psutil

from tests.support.harness import Server

SCRIPT = """
import os, sys
from musicgen_service.serving import cog_process, supervisor
from musicgen_service.serving.gateway_options import GatewayOptions
cog_process.POLL_INTERVAL = cog_process.MIN_BACKOFF = 0.05
cog_process.MAX_FAILED_CHECKS = 30  # in as much time as without the line before
supervisor.CANCEL_TIMEOUT = 0.5
environment = os.environ | {"PYTHONPATH": os.getcwd()}
command = [sys.executable, "-P", os.path.abspath("tests/support/fake_cog.py")]
process = cog_process.CogProcess(command, environment, lambda folder: None)
supervisor.Supervisor(("127.0.0.1", int(sys.argv[2])), process, 3.0, GatewayOptions()).run()
"""
"""A program that takes `--port PORT`."""


def say(server: Server, word: str, **headers: str) -> httpx.Response:
    return server.client.post("/predictions", json={"input": {"prompt": word}}, headers=headers)


def is_served(server: Server) -> bool:
    return bool(say(server, "hello").json().get("status") == "succeeded")


def pid(server: Server) -> int:
    return int(server.client.get("/health-check").json()["pid"])


def family(server: Server) -> list[psutil.Process]:
    """The processes that the supervisor has started."""
    return server.family()[1:]


def log_of(server: Server) -> str:
    return server.log.read_text()
