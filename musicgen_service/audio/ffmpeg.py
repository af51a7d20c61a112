"""The ffmpeg program that comes with the `imageio-ffmpeg` package, so no system package is needed."""

import subprocess

import imageio_ffmpeg

TIMEOUT = 120.0
"""Seconds after which a call is given up."""


class FfmpegError(RuntimeError):
    """ffmpeg refused its input; the message is its last line."""


def path() -> str:
    """Full path of the program."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def run(arguments: list[str]) -> bytes:
    """Run ffmpeg and return what it wrote to standard output.

    Raises
    ------
    FfmpegError
        When it fails or takes longer than `TIMEOUT`.
    """
    command = [path(), "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise FfmpegError(f"gave up after {TIMEOUT:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise FfmpegError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout
