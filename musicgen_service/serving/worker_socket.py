"""What the gateway asks of the worker: a Unix socket that takes a line with a question, and answers it.

The socket lies in the folder that the supervisor removes when it stops Cog's server.
"""

import asyncio
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from musicgen_service.progress import log
from musicgen_service.serving.unix_sockets import address

METRICS, MODELS = "metrics", "models"
"""The questions: the worker's metrics, in Prometheus's text format; labels of the models in memory, as a JSON list."""
_MAX_QUESTION = 100
_TIMEOUT = 2.0


def publish(answers: Mapping[str, Callable[[], bytes]], path: Path) -> None:
    """Answer questions as long as this process lives; where that is not possible, the log says so.

    Parameters
    ----------
    answers : return the answer to each question
    path : of the socket
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            question = self.rfile.readline(_MAX_QUESTION).decode().strip()
            if question in answers:
                self.wfile.write(answers[question]())

    try:
        with address(path) as short:
            server = socketserver.ThreadingUnixStreamServer(short, Handler)
    except OSError as error:
        log(f"the worker's metrics and models are not available: {path} cannot be a socket ({error})")
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="worker socket", daemon=True).start()


async def ask(path: Path | None, question: str) -> bytes:
    """The worker's answer; empty where there is none.

    Parameters
    ----------
    path : of the socket; None while there is no worker
    question : one of the above
    """
    if path is None:
        return b""
    try:
        async with asyncio.timeout(_TIMEOUT):
            with address(path) as short:
                reader, writer = await asyncio.open_unix_connection(short)
            try:
                writer.write(f"{question}\n".encode())
                return await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
