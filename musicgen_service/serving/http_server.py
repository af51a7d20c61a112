"""Runs an ASGI application on uvicorn in a thread."""

import asyncio
import logging
import socket
import threading
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_KEEP_ALIVE = 30
"""Seconds for which a connection without a request stays open."""
_MAX_BACKLOG = 1024
_START_INTERVAL = 0.005
_CLOSE_SECONDS = 5
"""Maximum time for open connections to close when the server stops."""


def resolve(host: str, port: int) -> str:
    """The IP address that a host is listened on at.

    Raises
    ------
    OSError
        When it is unknown.
    OverflowError
        When there is no such port.
    """
    return str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises
    ------
    OSError
        When the address is in use, unknown, or not permitted.
    OverflowError
        When there is no such port.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio turns Nagle's algorithm off for sockets whose protocol says TCP: a reply would take 40 ms longer.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_MAX_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def server(app: Any, protocol: type[H11Protocol] = H11Protocol, backlog: int = _MAX_BACKLOG) -> uvicorn.Server:
    """A server for an application, which logs nothing but its exceptions.

    Parameters
    ----------
    app : an ASGI application
    protocol : what speaks HTTP
    backlog : maximum connections that are accepted at once
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        backlog=min(backlog, _MAX_BACKLOG),
    )
    return uvicorn.Server(config)


class ServerThread:
    """A server in a thread of its own.

    Parameters
    ----------
    listener : a socket that is bound
    running : the server
    """

    def __init__(self, listener: socket.socket, running: uvicorn.Server) -> None:
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._listener = listener
        self._server = running
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Start to serve; returns when it does."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(_START_INTERVAL)
        # Few connections may be accepted at once, where descriptors are short, but many may wait for it.
        self._listener.listen(_MAX_BACKLOG)

    def stop(self) -> None:
        """Close every connection and end the thread, if it was started."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))
