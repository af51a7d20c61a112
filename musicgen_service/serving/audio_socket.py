"""The gateway's end of what the audio of predictions goes through while it is made: a socket for the worker."""

import asyncio
import secrets
import socket

from musicgen_service import folders
from musicgen_service.serving.audio_channel import REQUIRED, TICKET, TICKET_BYTES
from musicgen_service.serving.bodies import Memory
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.unix_sockets import address

PREFIX = "musicgen-audio-"
MAX_BYTES = 2 * 10**9
"""Maximum size of all recordings together."""
_TICKET_SECONDS = 10.0
"""Maximum time for the ticket to arrive."""


class AudioSocket:
    """Receives audio from the worker, by tickets that nobody can guess.

    Attributes
    ----------
    path : of the socket, in a folder of its own that only this user may open
    """

    def __init__(self) -> None:
        self._folder = folders.OwnFolder(PREFIX)
        self.path = self._folder.path / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        with address(self.path) as short:
            self._listener.bind(short)
        self._space = Memory(MAX_BYTES)
        self._expected: dict[str, Prediction] = {}

    async def open(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_unix_server(self._receive, sock=self._listener)

    async def close(self) -> None:
        """Stop to listen, and remove the socket."""
        self._server.close()
        self.remove()

    def remove(self) -> None:
        """Remove the socket."""
        self._listener.close()
        self._folder.remove()

    def expect(self, prediction: Prediction) -> dict[str, str]:
        """Accept the audio of a prediction; returns what Cog's context of it must contain."""
        ticket = secrets.token_hex(TICKET_BYTES // 2)
        self._expected[ticket] = prediction
        return {TICKET: ticket} | ({REQUIRED: "1"} if prediction.is_heard else {})

    def forget(self, prediction: Prediction) -> None:
        """Accept no more of its audio."""
        for ticket in [ticket for ticket, expected in self._expected.items() if expected is prediction]:
            del self._expected[ticket]

    def take(self, prediction: Prediction, message: bytes) -> bool:
        """Take a message of audio that came by another way; returns whether there was room for it."""
        return prediction.recording.take(message, self._folder.path, self._space)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TICKET_SECONDS):
                ticket = (await reader.readexactly(TICKET_BYTES)).decode("ascii", "replace")
            if prediction := self._expected.pop(ticket, None):
                await prediction.recording.receive(reader, writer, self._folder.path, self._space)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
