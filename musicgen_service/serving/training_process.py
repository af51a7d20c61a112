"""Runs the command `train` in a process of its own, which ends with this one and may be killed at any moment."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from musicgen_service.redaction import without_folders
from musicgen_service.serving import json_text, launcher
from musicgen_service.serving.training import Training

COMMAND = (sys.executable, "-m", "musicgen_service", "train")
_NICENESS = 10
"""Requests come first."""
_MAX_LINE = 64 * 2**20
"""Bytes of what is said of 10,000 songs."""
_KILLED = 128 + signal.SIGKILL
_ERROR = "error: "
_LESS_MEMORY = "ask for checkpointing, a smaller crop or a smaller model_version"
_REWORDED = {
    "begin anew with --restart": "begin anew with restart",
    "choose another name, or replace it with --force": "choose another name",
    "train with --checkpointing, a smaller --crop or a smaller --base": _LESS_MEMORY,
}
"""What the command says of its own options, and what clients have in their place."""
BROKE_DOWN = "The training broke down: the service's log says more. The same request goes on where it was."
OUT_OF_MEMORY = f"The training was killed, most likely because memory ran out: {_LESS_MEMORY}."


async def run(training: Training, options: Sequence[str], songs: Sequence[str], temporary: Path) -> str | None:
    """Carry out a training; returns the sentence that says why it failed, or None. A cancel kills the process.

    Parameters
    ----------
    training : is told what the command says
    options : of the command
    songs : paths or addresses
    temporary : an existing folder for its temporary files
    """
    nice = ["nice", "-n", str(_NICENESS)] if shutil.which("nice") else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", launcher.__file__, *nice),
        *(*COMMAND, "--json", f"--name={training.request.name}", *options, "--", *songs),
        env=_environment(temporary),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_MAX_LINE,
    )
    try:
        _, last = await asyncio.gather(_listen(process, training), _relay(process))
        status = await process.wait()
    finally:
        # Also what is left of a process that has ended.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if status == 0:
        return None
    if last.startswith(_ERROR):
        return _reworded(last.removeprefix(_ERROR))
    return OUT_OF_MEMORY if status == _KILLED else BROKE_DOWN


def _environment(temporary: Path) -> Mapping[str, str]:
    return {**os.environ, "TMPDIR": str(temporary)}


async def _listen(process: asyncio.subprocess.Process, training: Training) -> None:
    """Tell a training what its process prints as JSON."""
    assert process.stdout is not None
    async for line in process.stdout:
        with suppress(ValueError):
            event = json_text.decode(line)
            if isinstance(event, dict):
                training.report(event)


async def _relay(process: asyncio.subprocess.Process) -> str:
    """Copy what a process says to our log; returns its last line."""
    assert process.stderr is not None
    last = ""
    async for line in process.stderr:
        last = line.decode(errors="replace").rstrip()
        print(last, file=sys.stderr, flush=True)
    return last


def _reworded(sentence: str) -> str:
    for command, client in _REWORDED.items():
        sentence = sentence.replace(command, client)
    return without_folders(sentence)
