"""Running ffmpeg, from the `imageio-ffmpeg` package, so that no system package is needed."""

import os
import selectors
import subprocess
import time
from collections.abc import Generator, Sequence
from typing import BinaryIO

import imageio_ffmpeg

TIMEOUT = 120.0
"""Seconds after which a run is aborted."""
MAX_MEMORY = 2**30
"""Maximum bytes of address space."""
MAX_FILE = 2**29
"""Maximum bytes of a file that it writes."""

_POLL_INTERVAL = 0.05
"""Seconds between checks for a cancelled request."""
_CHUNK = 2**18
"""Maximum bytes of output read at a time."""
_MAX_ERROR_OUTPUT = 2**16
"""Approximate number of characters of error output to keep: a damaged file causes an error for every packet."""


class FfmpegError(RuntimeError):
    """ffmpeg rejected its input or was stopped; the message is the last line of its error output.

    Attributes
    ----------
    error_output : its error output, up to a limit
    stopped : whether it was killed by a limit on its time, memory or output
    """

    def __init__(self, message: str, error_output: str = "", *, stopped: bool = False) -> None:
        super().__init__(message)
        self.error_output = error_output
        self.stopped = stopped


def path() -> str:
    """Return the full path of the program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


class Program:
    """A run of ffmpeg, limited in time, memory and output, whose standard output is read while it runs.

    Parameters
    ----------
    arguments : appended to the options that set the limits
    protocols : the only protocols that it may open, whatever its input refers to; by default local files and pipes
    source : its standard input, which the protocol `fd` reads

    Attributes
    ----------
    error_output : what it has written to standard error so far, up to a limit
    """

    def __init__(
        self, arguments: Sequence[str], *, protocols: str = "file,pipe", source: BinaryIO | None = None
    ) -> None:
        # A shell sets the limits: Python's `preexec_fn`, which runs between fork and exec, is not thread-safe.
        limits = f"ulimit -v {MAX_MEMORY // 1024}; ulimit -f {MAX_FILE // 512}; ulimit -t {TIMEOUT:.0f}"
        options = ["-nostdin", "-v", "error", "-protocol_whitelist", protocols]
        self._command = ["sh", "-c", f'{limits}; exec "$@"', "sh", path(), *options, *arguments]
        self._source = source
        self.error_output = ""

    def output(self) -> Generator[bytes]:
        """Run ffmpeg and yield its output in chunks. Closing the iterator or cancelling the request kills it at once.

        Raises
        ------
        FfmpegError
            When it fails or takes longer than `TIMEOUT`.
        """
        end = time.monotonic() + TIMEOUT
        source = subprocess.DEVNULL if self._source is None else self._source
        with (
            selectors.DefaultSelector() as selector,
            # Last, so that no cancel can be raised between its start and the block that kills it.
            subprocess.Popen(self._command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        ):
            try:
                assert process.stdout and process.stderr
                for pipe in (process.stdout, process.stderr):
                    selector.register(pipe, selectors.EVENT_READ)
                while selector.get_map():
                    if time.monotonic() > end:
                        raise FfmpegError(f"gave up after {TIMEOUT:.0f} s", self.error_output, stopped=True)
                    for key, _ in selector.select(_POLL_INTERVAL):
                        chunk = os.read(key.fd, _CHUNK)
                        if not chunk:
                            selector.unregister(key.fileobj)
                        elif key.fileobj is process.stdout:
                            yield chunk
                        elif len(self.error_output) < _MAX_ERROR_OUTPUT:
                            self.error_output += chunk.decode(errors="replace")
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            lines = self.error_output.strip().splitlines()
            message = lines[-1] if lines else f"exit status {process.returncode}"
            raise FfmpegError(message, self.error_output, stopped=process.returncode < 0)


def run(arguments: Sequence[str]) -> bytes:
    """Run ffmpeg and return its standard output; see `Program`."""
    return b"".join(Program(arguments).output())
