"""Limits on the connections of clients, which the HTTP server has none of.

A slow client costs a place in an event loop. How many places one address may have, how long the head of a request may
take and how long a client may stop reading its response are limited here; how long a body may take, in `bodies`.
"""

import asyncio
import fcntl
import resource
import sys
import termios
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from musicgen_service.serving import clients
from musicgen_service.serving.refusals import Refusal

_OWN_DESCRIPTORS = 32
"""File descriptors reserved for everything else that the process opens."""
_MAX_CONNECTIONS = 10_000
_MAX_PIPELINED = 65_536
"""Bytes of requests that may wait for the one before them."""


@dataclass
class Limits:
    """Limits on connections, and how many there are.

    Attributes
    ----------
    per_address : maximum connections of one address
    total : maximum connections
    head_seconds : maximum time for the head of a request, from the opening of the connection or its first byte
    stall_seconds : maximum time in which a client reads less of its response than `stall_bytes`
    """

    per_address: int
    total: int
    head_seconds: float = 10.0
    stall_seconds: float = 30.0
    stall_bytes: int = 30 * 1024
    open: Counter[str] = field(default_factory=Counter)


def max_connections() -> int:
    """Connections that the limit on file descriptors allows: two each, one of them to Cog's server."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return min(_MAX_CONNECTIONS, max(1, (limit - _OWN_DESCRIPTORS) // 2))


def protocol(limits: Limits) -> type[H11Protocol]:
    """The HTTP protocol of uvicorn, within limits."""

    class Connection(H11Protocol):
        """One client's connection."""

        transport: asyncio.Transport
        _head_timer: asyncio.TimerHandle | None = None
        _stall_timer: asyncio.TimerHandle | None = None
        _address = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # So that `pause_writing` is called for whatever the client has not read.
            transport.set_write_buffer_limits(high=0)
            self._address = clients.address(self.client[0] if self.client else "")
            limits.open[self._address] += 1
            if limits.open[self._address] > limits.per_address:
                self._turn_away(Refusal(429, "Your address has too many connections open.", retry_after=1))
            elif limits.open.total() > limits.total:
                self._turn_away(Refusal(503, "The service has too many connections open: try again in a moment."))
            else:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            limits.open[self._address] -= 1
            if not limits.open[self._address]:
                del limits.open[self._address]
            for timer in (self._head_timer, self._stall_timer):
                if timer is not None:
                    timer.cancel()
            self._unset_keepalive_if_required()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_head()
            # Otherwise nobody would notice that a client hangs up after it has sent part of its next request.
            is_received = self._is_serving() and not self.cycle.more_body
            if is_received and len(self.conn.trailing_data[0]) < _MAX_PIPELINED:
                self.flow.resume_reading()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._is_serving() or self.conn.trailing_data[0]:  # the next request, or its beginning
                self._await_head()

        def send_400_response(self, msg: str) -> None:
            self._turn_away(Refusal(400, "The request is not valid HTTP."))

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reader(self._unread())

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stall_timer is not None:
                self._stall_timer.cancel()

        def _is_serving(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            """Let the head of a request take no longer than the limit, unless one is being served."""
            if self._is_serving():
                if self._head_timer is not None:
                    self._head_timer.cancel()
                    self._head_timer = None
            elif self._head_timer is None:
                late = Refusal(408, f"A request must arrive within {limits.head_seconds:g} s.")
                self._head_timer = self.loop.call_later(limits.head_seconds, self._turn_away, late)

        def _watch_reader(self, unsent: int) -> None:
            """Close the connection when too little is read of its response."""

            def check() -> None:
                left = self._unread()
                if unsent - left < limits.stall_bytes:
                    self.transport.abort()
                else:
                    self._watch_reader(left)

            self._stall_timer = self.loop.call_later(limits.stall_seconds, check)

        def _unread(self) -> int:
            """Bytes that have been sent and not arrived at the client."""
            queued = bytearray(4)
            # Where it is not known, only what the system has not taken yet counts, which it does in large parts.
            with suppress(OSError):
                fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
            return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

        def _turn_away(self, refusal: Refusal) -> None:
            """Answer without the application, unless it has begun to, and close the connection."""
            if self.transport.is_closing():
                return
            if self.cycle is not None:
                self.cycle.disconnected = True  # whatever it sends from now on is dropped
            # A second reply to the same request would be taken for the reply to the next one.
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                response = refusal.response()
                head = [f"HTTP/1.1 {refusal.status} ", "connection: close"]
                head += [f"{name.decode()}: {value.decode()}" for name, value in response.raw_headers]
                self.transport.write("\r\n".join([*head, "\r\n"]).encode() + bytes(response.body))
            self.transport.close()

    return Connection
