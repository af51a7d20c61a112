"""The ffmpeg program that comes with the `imageio-ffmpeg` package, so no system package is needed."""

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import imageio_ffmpeg
import psutil

TIMEOUT = 120.0
"""Seconds after which a call is given up."""
MAX_MEMORY = 2**30
"""Bytes of address space."""
MAX_FILE = 2**29
"""Bytes of a file that it writes."""

_GLANCE = 0.05
"""Seconds between two looks whether the request was cancelled."""


class FfmpegError(RuntimeError):
    """ffmpeg refused its input; the message is its last line."""


def path() -> str:
    """Full path of the program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def run(arguments: list[str]) -> bytes:
    """Run ffmpeg, limited in time, memory and output; return what it wrote to standard output.

    It reads and writes local files and pipes only, whatever its input refers to. A cancelled request
    ends it at once.

    Raises
    ------
    FfmpegError
        When it fails or takes longer than `TIMEOUT`.
    """
    # A shell sets the limits: Python's own way, between fork and exec, is not safe beside other threads.
    limits = f"ulimit -v {MAX_MEMORY // 1024}; ulimit -f {MAX_FILE // 512}; ulimit -t {TIMEOUT:.0f}"
    command = [
        "sh",
        "-c",
        f'{limits}; exec "$@"',
        "sh",
        path(),
        "-nostdin",
        "-v",
        "error",
        "-protocol_whitelist",
        "file,pipe",
    ]
    end = time.monotonic() + TIMEOUT
    with subprocess.Popen(
        [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while True:
                try:
                    output, complaints = process.communicate(timeout=_GLANCE)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > end:
                        raise FfmpegError(f"gave up after {TIMEOUT:.0f} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = complaints.decode(errors="replace").strip().splitlines()
        raise FfmpegError(lines[-1] if lines else f"exit status {process.returncode}")
    return output


def interruptible(work: Callable[[], None]) -> None:
    """Do work that waits for an ffmpeg of its own; a cancelled request ends that program and returns at once."""
    outcome: list[Exception] = []
    done = threading.Event()  # a cancel that interrupts Thread.join would make the thread look as if it had ended

    def attempt() -> None:
        try:
            work()
        except Exception as error:
            outcome.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=attempt, name="ffmpeg", daemon=True)
    try:
        thread.start()
        while not done.wait(_GLANCE):
            pass
    except BaseException:
        while True:
            _kill_programs()
            # The thread may be about to start its program, or itself.
            if done.wait(_GLANCE) or thread.ident is None:
                raise
    if outcome:
        raise outcome[0]


def _kill_programs() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.exe() == path():
                child.kill()
