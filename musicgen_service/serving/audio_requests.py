"""Routes that work on recordings, in a child process."""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.audio.encoding import FORMATS
from musicgen_service.serving import audio_tasks, bodies, clients
from musicgen_service.serving.audio_tasks import Outcome
from musicgen_service.serving.audio_worker import AudioWorker
from musicgen_service.serving.files import Files
from musicgen_service.serving.hang_ups import unless_hung_up
from musicgen_service.serving.refusals import Refusal, reply

_INPUT = "input_audio"
_MAX_OF_CLIENT = 5
"""Maximum number of tasks of one client that may run or wait, of those that all may have together."""


class AudioRequests:
    """Analyses and converts recordings.

    Parameters
    ----------
    memory : counts the bodies of requests
    kept : files of results and uploads
    """

    def __init__(self, memory: bodies.BodyMemory, kept: Files) -> None:
        self._memory = memory
        self._files = kept
        self._worker = AudioWorker()
        sentence = "You have too many recordings to be worked on: wait for one to end."
        self._at_once = clients.AtOnce(_MAX_OF_CLIENT, sentence, retry_after=5)

    async def analyse(self, request: Request) -> Response:
        """Answer `POST /analyse`."""
        async with bodies.reading(request, self._memory) as body:
            inputs = body.get("input") if isinstance(body, dict) else None
            if not isinstance(inputs, dict) or inputs.keys() != {_INPUT} or not isinstance(inputs[_INPUT], str):
                raise Refusal(422, f'The body must be {{"input": {{"{_INPUT}": ...}}}}, an http(s) URL or a data URI.')
            source = self._files.at_url(inputs[_INPUT]) or inputs[_INPUT]
            return reply(200, await self._work(request, audio_tasks.analyse, source))

    async def convert(self, request: Request, file: Path, wanted: str) -> Path:
        """Write a clip in another format, in a folder of its own, which no address has.

        Parameters
        ----------
        request : ends the work when its client disconnects
        file : a sound file that the service has written
        wanted : the format

        Raises
        ------
        Refusal
            When there is no such format, or the file is no sound.
        """
        if wanted not in FORMATS or file.suffix.removeprefix(".") not in FORMATS:
            raise Refusal(422, f"format must be one of {', '.join(FORMATS)}, for a file that is one of them.")
        folder = file.with_name(f"converted-{secrets.token_hex(8)}")
        folder.mkdir()
        target = folder / f"{file.stem}.{wanted}"
        try:
            await self._work(request, audio_tasks.convert, file, target)
        except BaseException:
            # A process that is killed leaves what it was writing.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return target

    async def _work(self, request: Request, task: Callable[..., Outcome], *arguments: Any) -> Any:
        """Have a task carried out for a client, which may have a few of them at a time."""
        with self._at_once.one_more(clients.owner(request)):
            return await unless_hung_up(request.receive, self._worker.run(task, *arguments))
