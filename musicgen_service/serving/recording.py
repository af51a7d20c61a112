"""A prediction's audio, as far as it has been made."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from musicgen_service.progress import log
from musicgen_service.serving import json_text
from musicgen_service.serving.audio_channel import LENGTH_BYTES, LISTEN
from musicgen_service.serving.bodies import Memory
from musicgen_service.serving.refusals import Refusal

_READ = 65_536
"""Maximum bytes that a listener gets at a time."""


class Recording:
    """Keeps the audio for listeners of any speed, in a file without a name: each reads on from where it is.

    Attributes
    ----------
    sound : what is heard, once that is known; see `audio_channel.AudioChannel.start`
    refusal : why nothing can be heard, as a sentence, or None
    size : bytes that have arrived
    first_at : when the first of them did, in seconds since the epoch
    is_complete : whether all of it has arrived
    is_live : whether the worker is connected
    listeners : number of those who listen
    """

    def __init__(self) -> None:
        self.sound: dict[str, Any] | None = None
        self.refusal: str | None = None
        self.size = 0
        self.first_at: float | None = None
        self.is_complete = self.is_live = False
        self.listeners = 0
        self._has_ended = False
        self._file: IO[bytes] | None = None
        self._space: Memory | None = None
        self._wanted = asyncio.Event()
        self._change = asyncio.Event()

    @property
    def has_all(self) -> bool:
        """Whether all that there is to hear has arrived, be it said or not."""
        size = None if self.sound is None else self.sound["bytes"]
        return self.is_complete or (size is not None and self.size >= size)

    def join(self) -> None:
        """Begin to listen."""
        self.listeners += 1
        self._wanted.set()

    def leave(self) -> None:
        """Listen no longer."""
        self.listeners -= 1
        self._close_unused()

    def end(self) -> None:
        """Note that the prediction has ended: nothing more will come, and nobody will join."""
        self._has_ended = True
        self._tell()
        self._close_unused()

    def begin_anew(self) -> None:
        """Forget what was to be heard, of which nothing was: another worker says what it is."""
        self.sound = self.refusal = None

    async def wanted(self) -> None:
        """Wait until somebody listens."""
        await self._wanted.wait()

    async def changed(self) -> None:
        """Wait until there is more, or the prediction has ended."""
        await self._change.wait()

    def read(self, start: int, end: int | None = None) -> bytes:
        """Read what there is from a position on, up to a limit, and to an end if one is given."""
        count = min(_READ, (self.size if end is None else min(self.size, end)) - start)
        return b"" if self._file is None or count <= 0 else os.pread(self._file.fileno(), count, start)

    async def messages(self) -> AsyncIterator[bytes]:
        """Listen; yields messages of an `AudioChannel`, for another recording to take."""
        self.join()
        try:
            is_described, position = False, 0
            while True:
                if not is_described and (self.sound is not None or self.refusal is not None):
                    yield json_text.encode(self.sound or {"refusal": self.refusal})
                    is_described = True
                elif part := self.read(position):
                    yield part
                    position += len(part)
                elif self.is_complete:
                    yield b""
                    return
                elif self._has_ended and not self.is_live:
                    return
                else:
                    await self.changed()
        finally:
            self.leave()

    async def receive(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path, space: Memory
    ) -> None:
        """Receive audio from the worker, until it is complete or breaks off.

        Parameters
        ----------
        reader, writer : connection of an `AudioChannel`
        folder : for the file
        space : counts the bytes of all recordings
        """
        self.is_live = True
        asking = asyncio.create_task(self._ask(writer))
        try:
            while not self.is_complete:
                length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
                message = await reader.readexactly(length)
                if (self._has_ended and not self.listeners) or not self.take(message, folder, space):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            asking.cancel()
            self.is_live = False
            self._tell()

    def take(self, message: bytes, folder: Path, space: Memory) -> bool:
        """Take a message of an `AudioChannel`; returns whether there was room for it."""
        try:
            self._take(message, folder, space)
        except (OSError, Refusal) as error:
            log(f"audio cannot be kept while it is made: {error}")
            return False
        self._tell()
        return True

    def _take(self, message: bytes, folder: Path, space: Memory) -> None:
        if self.sound is None:
            content = json_text.decode(message)
            self.refusal = content.get("refusal")
            self.sound = content if self.refusal is None else None
        elif message:
            if self._file is None:
                self._file, self._space = tempfile.TemporaryFile(dir=folder), space  # noqa: SIM115 (closed below)
            # Into the page cache: no wait for the disk.
            self._file.write(message)
            self._file.flush()
            space.take(len(message))
            self.size += len(message)
            self.first_at = self.first_at or time.time()
        else:
            self.is_complete = True

    async def _ask(self, writer: asyncio.StreamWriter) -> None:
        """Ask the worker for audio when somebody listens."""
        await self.wanted()
        writer.write(LISTEN)
        with suppress(ConnectionError):
            await writer.drain()

    def _tell(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _close_unused(self) -> None:
        if self._file is not None and self._has_ended and not self.listeners:
            with suppress(OSError):  # what a full disk has not taken
                self._file.close()
            self._file = None
            if self._space is not None:
                self._space.release(self.size)
