"""The ffmpeg program that comes with the `imageio-ffmpeg` package, so no system package is needed."""

import os
import selectors
import subprocess
import time
from collections.abc import Generator, Sequence
from typing import BinaryIO

import imageio_ffmpeg

TIMEOUT = 120.0
"""Seconds after which a call is given up."""
MAX_MEMORY = 2**30
"""Bytes of address space."""
MAX_FILE = 2**29
"""Bytes of a file that it writes."""

_POLL_INTERVAL = 0.05
"""Seconds between two looks whether the request was cancelled."""
_PIECE = 2**18
"""Bytes of output read at once, at most."""
_MAX_COMPLAINTS = 2**16
"""Characters kept of what it says, about: a damaged file has it complain of every packet."""


class FfmpegError(RuntimeError):
    """ffmpeg refused its input or was stopped; the message is its last line.

    Attributes
    ----------
    complaints : all that it said, as far as it was kept
    stopped : whether it was ended by a limit on its time, memory or output
    """

    def __init__(self, message: str, complaints: str = "", *, stopped: bool = False) -> None:
        super().__init__(message)
        self.complaints = complaints
        self.stopped = stopped


def path() -> str:
    """Full path of the program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


class Program:
    """A run of ffmpeg, limited in time, memory and output, whose standard output is read while it works.

    Parameters
    ----------
    arguments : after the options that set the limits
    protocols : what it may open, whatever its input refers to: local files and pipes, unless said otherwise
    source : its standard input, which the protocol `fd` reads

    Attributes
    ----------
    complaints : what it has written to standard error so far, to a limit
    """

    def __init__(
        self, arguments: Sequence[str], *, protocols: str = "file,pipe", source: BinaryIO | None = None
    ) -> None:
        # A shell sets the limits: Python's own way, between fork and exec, is not safe beside other threads.
        limits = f"ulimit -v {MAX_MEMORY // 1024}; ulimit -f {MAX_FILE // 512}; ulimit -t {TIMEOUT:.0f}"
        options = ["-nostdin", "-v", "error", "-protocol_whitelist", protocols]
        self._command = ["sh", "-c", f'{limits}; exec "$@"', "sh", path(), *options, *arguments]
        self._source = source
        self.complaints = ""

    def output(self) -> Generator[bytes]:
        """Run it; yields its output in pieces. To close the iterator, or to cancel the request, ends it at once.

        Raises
        ------
        FfmpegError
            When it fails or takes longer than `TIMEOUT`.
        """
        end = time.monotonic() + TIMEOUT
        source = subprocess.DEVNULL if self._source is None else self._source
        with (
            selectors.DefaultSelector() as selector,
            # Last, so that no cancel comes between its start and what ends it.
            subprocess.Popen(self._command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        ):
            try:
                assert process.stdout and process.stderr
                for pipe in (process.stdout, process.stderr):
                    selector.register(pipe, selectors.EVENT_READ)
                while selector.get_map():
                    if time.monotonic() > end:
                        raise FfmpegError(f"gave up after {TIMEOUT:.0f} s", self.complaints, stopped=True)
                    for key, _ in selector.select(_POLL_INTERVAL):
                        piece = os.read(key.fd, _PIECE)
                        if not piece:
                            selector.unregister(key.fileobj)
                        elif key.fileobj is process.stdout:
                            yield piece
                        elif len(self.complaints) < _MAX_COMPLAINTS:
                            self.complaints += piece.decode(errors="replace")
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            lines = self.complaints.strip().splitlines()
            message = lines[-1] if lines else f"exit status {process.returncode}"
            raise FfmpegError(message, self.complaints, stopped=process.returncode < 0)


def run(arguments: Sequence[str]) -> bytes:
    """What ffmpeg writes to standard output; see `Program`."""
    return b"".join(Program(arguments).output())
