"""The worker's end of what a prediction's audio goes through while it is made: a connection to the gateway's socket.

Messages have a length of four bytes before them. The first one is a JSON object: what will be heard, or why nothing
will. Then comes the audio, encoded, and an empty message when it is complete.
"""

import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.audio import streamed
from musicgen_service.listener import Sound
from musicgen_service.requests.errors import RequestError
from musicgen_service.serving import json_text
from musicgen_service.serving.unix_sockets import address

TICKET, REQUIRED = "audio_ticket", "audio_required"
"""Entries of Cog's context of a prediction: the ticket of its audio, and whether it is for its audio alone."""
TICKET_BYTES = 32
LENGTH_BYTES = 4
MAX_MESSAGE = 2**18
"""Maximum bytes of a message."""
LISTEN = b"\n"
"""What the gateway sends when somebody listens."""
_POLL_MILLISECONDS = 50
"""Time between checks for a cancelled request."""


@contextmanager
def opened(
    path: Path | None, context: Mapping[str, str], reword: Callable[[str], str]
) -> Iterator["AudioChannel | None"]:
    """Yield the channel of a prediction; None where nobody can listen to it.

    Parameters
    ----------
    path : of the gateway's socket; None without a gateway
    context : Cog's, of the prediction
    reword : replaces names of inputs in a sentence by the client's
    """
    ticket = context.get(TICKET)
    connection = _connected(path, ticket) if path and ticket else None
    if connection is None:
        yield None
        return
    channel = AudioChannel(connection, REQUIRED in context, reword)
    try:
        yield channel
    finally:
        channel.close()


class AudioChannel:
    """The `Listener` of a prediction: whoever listens at the gateway.

    Parameters
    ----------
    connection : to the gateway's socket
    is_required : whether the prediction is pointless where nothing can be heard
    reword : replaces names of inputs in a sentence by the client's
    """

    def __init__(self, connection: socket.socket, is_required: bool, reword: Callable[[str], str]) -> None:
        self._connection: socket.socket | None = connection
        self._is_required = is_required
        self._reword = reword
        self._is_listening = False

    def close(self) -> None:
        """Close the connection; what was not ended counts as broken off."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_listening(self) -> bool:
        """See `Listener.is_listening`."""
        if not self._is_listening and self._connection is not None:
            with suppress(OSError):
                self._is_listening = self._connection.recv(1) == LISTEN
        return self._is_listening

    def refuse(self, reason: str) -> None:
        """See `Listener.refuse`."""
        if self._is_required:
            raise RequestError([reason])
        self._send_object({"refusal": self._reword(reason)})

    def start(self, sound: Sound) -> None:
        """See `Listener.start`."""
        self._encoder = streamed.encoder(sound.output_format, sound.samples, sound.sample_rate, sound.channels)
        factor = sound.real_time_factor
        self._send_object(
            {
                "media_type": self._encoder.media_type,
                "sample_rate": sound.sample_rate,
                "channels": sound.channels,
                "seconds": sound.samples / sound.sample_rate,
                "bytes": self._encoder.size,
                "real_time_factor": None if factor is None else round(factor, 2),
            }
        )

    def hear(self, piece: np.ndarray) -> None:
        """See `Listener.hear`."""
        self._send_audio(self._encoder.encode(piece))

    def end(self) -> None:
        """See `Listener.end`."""
        self._send_audio(self._encoder.end())
        self._send(b"")

    def _send_audio(self, content: bytes) -> None:
        for start in range(0, len(content), MAX_MESSAGE):
            self._send(content[start : start + MAX_MESSAGE])

    def _send_object(self, content: Mapping[str, Any]) -> None:
        self._send(json_text.encode(content))

    def _send(self, content: bytes) -> None:
        """Send a message; where the gateway takes no more, the audio is lost, and the prediction goes on."""
        rest = memoryview(len(content).to_bytes(LENGTH_BYTES, "big") + content)
        while rest and self._connection is not None:
            try:
                # A cancel is not noticed within a call that waits for long.
                writable = select.poll()
                writable.register(self._connection, select.POLLOUT)
                if writable.poll(_POLL_MILLISECONDS):
                    rest = rest[self._connection.send(rest) :]
            except OSError:
                self.close()


def _connected(path: Path, ticket: str) -> socket.socket | None:
    """Connect to the gateway; None where that fails."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with address(path) as short:
            connection.connect(short)
        connection.sendall(ticket.encode())
        connection.setblocking(False)
    except OSError:
        connection.close()
        return None
    return connection
