"""A child process that works on audio files for the gateway, started when it is first needed."""

import sys
from collections.abc import Callable
from typing import Any

import anyio
from anyio import BrokenWorkerProcess, to_process

from musicgen_service.serving.audio_tasks import Outcome
from musicgen_service.serving.refusals import Refusal

_SECONDS = 300.0
"""Maximum time for a task, the wait for its turn included."""
_MAX_WAITING = 20
"""Number of tasks that may run or wait."""


class AudioWorker:
    """Runs one task after the other; the process ends after five minutes without any."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(1)
        self._tasks = 0

    async def run(self, task: Callable[..., Outcome], *arguments: Any) -> Any:
        """Run a function of `audio_tasks`; returns its value. The process is killed when this is cancelled.

        Raises
        ------
        Refusal
            When too many wait, it takes too long, or it fails.
        """
        if self._tasks >= _MAX_WAITING:
            raise Refusal(429, "Too many recordings are waiting to be worked on: try again in a moment.", retry_after=5)
        self._tasks += 1
        try:
            with anyio.fail_after(_SECONDS):
                outcome = await to_process.run_sync(task, *arguments, cancellable=True, limiter=self._limiter)
        except TimeoutError:
            raise Refusal(503, f"The recording could not be worked on within {_SECONDS:g} s.") from None
        except BrokenWorkerProcess:
            raise Refusal(503, "The process that works on recordings broke down: try again in a moment.") from None
        finally:
            self._tasks -= 1
        if outcome.log:
            print(outcome.log, file=sys.stderr)
        if outcome.problem is not None:
            raise Refusal(422 if outcome.is_invalid else 500, outcome.problem)
        return outcome.value
