"""Limits on the connections of clients, which the HTTP server has none of.

A slow client costs a place in an event loop. How many places one address may have, how long the head of a request may
take and how slowly a client may read its response are limited here; how long a body may take, in `bodies`. Where there
is no place left, a connection on which nothing is asked for makes room: idle ones lock nobody out.
"""

import asyncio
import fcntl
import resource
import sys
import termios
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

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
    reply_seconds : in which a client reads all that waits for it, at the pace that is asked for
    open : number of connections of each address
    idle : those of each address on which nothing is asked for, the longest idle first
    """

    per_address: int
    total: int
    head_seconds: float = 10.0
    stall_seconds: float = 30.0
    stall_bytes: int = 30 * 1024
    reply_seconds: float = 600.0
    open: Counter[str] = field(default_factory=Counter)
    idle: dict[str, dict[Any, None]] = field(default_factory=dict)

    def to_give_way(self, address: str) -> Any:
        """The connection that makes room for a new one of an address; None where there is none."""
        if self.open[address] <= self.per_address:
            address = max(self.idle, key=lambda other: len(self.idle[other]), default="")
        return next((connection for connection in self.idle.get(address, ()) if not connection.has_arrived()), None)

    def rest(self, address: str, connection: Any) -> None:
        """Note that nothing is asked for on a connection, as before or from now on."""
        self.idle.setdefault(address, {}).setdefault(connection)

    def work(self, address: str, connection: Any) -> None:
        """Note that something is asked for on a connection, or that it ends."""
        of_address = self.idle.get(address, {})
        of_address.pop(connection, None)
        if not of_address:
            self.idle.pop(address, None)


def raise_descriptor_limit() -> None:
    """Raise this process's limit on file descriptors as far as it may, and connections need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MAX_CONNECTIONS + _OWN_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # where the system has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Connections that the limit on file descriptors allows: two each, one of them to Cog's server."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return min(_MAX_CONNECTIONS, max(1, (limit - _OWN_DESCRIPTORS) // 2))


def _bytes_queued(transport: asyncio.Transport, which: int) -> int:
    """Bytes that the system has in a queue of a connection, `TIOCOUTQ` or `FIONREAD`; 0 where it is not known."""
    queued = bytearray(4)
    with suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), which, queued)
    return int.from_bytes(queued, sys.byteorder)


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
            if refusal := self._no_place():
                self._turn_away(refusal)
            else:
                self._await_head()

        def _no_place(self) -> Refusal | None:
            """Why there is no place for this connection, even if an idle one is closed for it; None where there is."""
            if limits.open[self._address] > limits.per_address:
                refusal = Refusal(429, "Your address has too many connections open.", retry_after=1)
            elif limits.open.total() > limits.total:
                refusal = Refusal(503, "The service has too many connections open: try again in a moment.")
            else:
                return None
            if (other := limits.to_give_way(self._address)) is None:
                return refusal
            other.give_way(refusal)
            return None

        def has_arrived(self) -> bool:
            """Whether the system has something from the client that has not been looked at."""
            return _bytes_queued(self.transport, termios.FIONREAD) > 0

        def give_way(self, refusal: Refusal) -> None:
            """Close this connection, on which nothing is asked for, in favour of another one."""
            limits.work(self._address, self)
            if self.conn.trailing_data[0]:  # the beginning of a request
                self._turn_away(refusal)
            else:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            limits.work(self._address, self)
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
            self._note_rest()
            if self._is_serving() or self.conn.trailing_data[0]:  # the next request, or its beginning
                self._await_head()

        def send_400_response(self, msg: str) -> None:
            self._turn_away(Refusal(400, "The request is not valid HTTP."))

        def pause_writing(self) -> None:
            super().pause_writing()
            unread = self._unread()
            self._watch_reader(unread, unread)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stall_timer is not None:
                self._stall_timer.cancel()

        def _is_serving(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            """Let the head of a request take no longer than the limit, unless one is being served."""
            self._note_rest()
            if self._is_serving():
                if self._head_timer is not None:
                    self._head_timer.cancel()
                    self._head_timer = None
            elif self._head_timer is None:
                late = Refusal(408, f"A request must arrive within {limits.head_seconds:g} s.")
                self._head_timer = self.loop.call_later(limits.head_seconds, self._turn_away, late)

        def _note_rest(self) -> None:
            if self._is_serving():
                limits.work(self._address, self)
            elif not self.transport.is_closing():
                limits.rest(self._address, self)

        def _watch_reader(self, unsent: int, whole: int) -> None:
            """Close the connection when too little is read of its response, of which so much was unsent at first."""
            least = max(limits.stall_bytes, whole * limits.stall_seconds / limits.reply_seconds)

            def check() -> None:
                left = self._unread()
                if unsent - left < least:
                    self.transport.abort()
                else:
                    self._watch_reader(left, whole)

            self._stall_timer = self.loop.call_later(limits.stall_seconds, check)

        def _unread(self) -> int:
            """Bytes that have been sent and not arrived at the client."""
            # Where it is not known, only what the system has not taken yet counts, which it does in large parts.
            return self.transport.get_write_buffer_size() + _bytes_queued(self.transport, termios.TIOCOUTQ)

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
