"""All predictions that have not ended: who waits, what runs, and what a client may see and cancel."""

import asyncio
import math
import time
import traceback
from collections import deque
from functools import partial

from musicgen_service.serving.bodies import BodyMemory
from musicgen_service.serving.fair_queue import FairQueue
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.rates import Rate
from musicgen_service.serving.refusals import BROKE_DOWN, BROKEN, SHUT_DOWN, Refusal
from musicgen_service.serving.results import Results
from musicgen_service.serving.upstream import Upstream, UpstreamLost

ATTEMPTS = 2
"""How often a prediction is carried out, when the worker or the service dies in it."""
_RETRY_WAIT = 0.5
"""Seconds before a prediction is carried out again."""
_MEASURED = 20
"""Number of predictions whose mean time is expected of the next."""
_UNKNOWN_WAIT = 5
"""Seconds after which a client may try again, as long as no prediction has been measured."""


class Predictions:
    """Lets predictions wait for their turn and has them carried out.

    Parameters
    ----------
    upstream : carries predictions out
    places : number of predictions that may wait
    memory : counts the inputs of predictions that wait or run
    results : keeps those that have ended
    metrics : counts them
    audio : seconds of audio that clients may ask for
    max_seconds : how long a prediction may run
    """

    def __init__(
        self,
        upstream: Upstream,
        places: int,
        memory: BodyMemory,
        results: Results,
        metrics: Metrics,
        audio: Rate,
        max_seconds: float,
    ) -> None:
        self._upstream = upstream
        self._queue = FairQueue[Prediction](places)
        self._memory = memory
        self._results = results
        self._metrics = metrics
        self._audio = audio
        self._max_seconds = max_seconds
        self._tasks: dict[Prediction, asyncio.Task[None]] = {}
        self._unfinished: dict[tuple[str, str], Prediction] = {}
        self._releases: dict[Prediction, asyncio.Task[None]] = {}
        self._seconds = deque[float](maxlen=_MEASURED)

    def __len__(self) -> int:
        return len(self._unfinished)

    @property
    def waiting(self) -> int:
        """Number of predictions that wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Number of predictions whose turn has come."""
        return len(self._tasks)

    def find(self, owner: str, prediction_id: str) -> Prediction | None:
        """A client's prediction that has not ended, or not been noted in the results."""
        return self._unfinished.get((owner, prediction_id))

    def with_key(self, key: str) -> Prediction | None:
        """Whoever's prediction that has this key and has not ended, or not been noted in the results."""
        return next((prediction for prediction in self._unfinished.values() if prediction.key == key), None)

    def owned_by(self, owner: str) -> list[Prediction]:
        """A client's predictions that have not ended, the oldest first."""
        return [prediction for prediction in self._unfinished.values() if prediction.owner == owner]

    def tokens(self) -> set[str]:
        """The tokens of the service's own files that are inputs of predictions which have not ended."""
        return {token for prediction in self._unfinished.values() for token in prediction.request.tokens}

    def add(self, prediction: Prediction) -> None:
        """Let a prediction, of an id that no other unfinished one of its owner has, wait for its turn.

        Raises
        ------
        Refusal
            When too many are waiting, their inputs are too large, or its client asks for too much audio.
        """
        if not self._queue.has_place(prediction.owner):
            seconds = self._expected_seconds(self._upstream.slots)
            retry_after = _UNKNOWN_WAIT if seconds is None else max(1, math.ceil(seconds))
            raise Refusal(429, "Too many predictions are waiting: try again later.", retry_after=retry_after)
        size = sum(len(value) for value in prediction.request.inputs.values() if isinstance(value, str))
        self._memory.take(prediction.owner, size)
        if wait := self._audio.take(prediction.owner, prediction.audio_seconds):
            self._memory.release(prediction.owner, size)
            raise Refusal(429, "You ask for too much audio: try again later.", retry_after=math.ceil(wait))
        self._unfinished[prediction.owner, prediction.id] = prediction
        self._releases[prediction] = asyncio.create_task(self._release(prediction, size))
        self._releases[prediction].add_done_callback(lambda _: self._releases.pop(prediction))
        self._queue.add(prediction.owner, prediction)
        self.start_next()

    def queue_of(self, prediction: Prediction) -> dict[str, int | None] | None:
        """Where a prediction waits: how many are before it, and after how many seconds it is likely to be ready."""
        position = self._queue.position(prediction.owner, prediction)
        if position is None:
            return None
        # Its own time, and that of those before it.
        seconds = self._expected_seconds(position + self._upstream.slots)
        return {"position": position, "eta_seconds": None if seconds is None else math.ceil(seconds)}

    async def cancel(self, prediction: Prediction) -> None:
        """Cancel a prediction; one that waits has never started."""
        prediction.is_cancelled = True
        if self._queue.remove(prediction.owner, prediction):
            prediction.cancel()
        elif not await self._upstream.cancel(prediction) and prediction in self._tasks:
            self._tasks[prediction].cancel()

    def give_up(self) -> None:
        """End all predictions, as the service is shutting down."""
        for prediction in list(self._unfinished.values()):
            self._queue.remove(prediction.owner, prediction)
            prediction.fail(Refusal(503, SHUT_DOWN))
            if prediction in self._tasks:
                self._tasks[prediction].cancel()

    async def leave(self) -> None:
        """Stop, and leave what has not ended to the service that takes it over."""
        stopped = []
        for prediction, release in self._releases.items():
            if not prediction.settled.is_set():
                self._queue.remove(prediction.owner, prediction)
                stopped += [release, *filter(None, [self._tasks.get(prediction)])]
        for task in stopped:
            task.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)

    async def _release(self, prediction: Prediction, size: int) -> None:
        if prediction.is_watched:
            await self._results.note(prediction)
        prediction.noted.set()
        await prediction.settled.wait()
        try:
            await self._results.add(prediction)
        finally:
            prediction.conclude()
        self._metrics.ended(prediction)
        if prediction.status == "succeeded":
            self._seconds.append(prediction.seconds)
        name = prediction.owner, prediction.id
        if self._unfinished.get(name) is prediction:  # and no later one of the same name
            del self._unfinished[name]
        prediction.give_up_inputs()
        self._memory.release(prediction.owner, size)
        self._audio.give_back(prediction.owner, prediction.unused_audio_seconds)

    def start_next(self) -> None:
        """Start predictions as long as there are slots for them, of which there may be more than before."""
        while len(self._tasks) < self._upstream.slots and len(self._queue):
            prediction = self._queue.take()
            self._metrics.queue_wait_seconds.observe(time.time() - prediction.created_at)
            task = self._tasks[prediction] = asyncio.create_task(self._carry_out(prediction))
            # A task that is cancelled before its first step runs nothing of its coroutine.
            task.add_done_callback(partial(self._clear, prediction))

    async def _carry_out(self, prediction: Prediction) -> None:
        deadline = asyncio.get_running_loop().time() + self._max_seconds
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    # Cog cancels a prediction when the connection is closed.
                    async with asyncio.timeout_at(deadline):
                        reply = await self._upstream.predict(prediction)
                    break
                except TimeoutError:
                    longest = f"{self._max_seconds:,.10g} s"
                    raise Refusal(
                        504, f"The prediction was ended after {longest}, the longest that it may run."
                    ) from None
                except UpstreamLost:
                    if attempt == ATTEMPTS or prediction.is_cancelled:
                        raise
                    # A server that is dying still accepts connections.
                    await asyncio.sleep(_RETRY_WAIT)
                    # Whoever has heard its beginning would hear another beginning.
                    if prediction.recording.size:
                        raise
                    prediction.recording.begin_anew()
            if reply.get("output") is not None:
                reply["output"] = await self._results.save_files(prediction, reply)
            prediction.finish(reply)
        except UpstreamLost:
            if prediction.is_cancelled:
                prediction.cancel()
            else:
                prediction.fail(Refusal(502, BROKE_DOWN))
        except Refusal as refusal:
            prediction.fail(refusal)

    def _clear(self, prediction: Prediction, task: asyncio.Task[None]) -> None:
        """Free the slot of a prediction whose task has ended."""
        del self._tasks[prediction]
        if not task.cancelled() and (error := task.exception()):
            traceback.print_exception(error)
            prediction.fail(Refusal(500, BROKEN))
        else:
            prediction.cancel()  # unless it has ended otherwise
        self.start_next()

    def _expected_seconds(self, count: int) -> float | None:
        """Seconds that so many predictions are likely to take; None as long as none has been measured."""
        if not self._seconds:
            return None
        return count / self._upstream.slots * sum(self._seconds) / len(self._seconds)
