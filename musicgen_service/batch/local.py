"""Requests of a batch that are carried out in this process, in the steps of one loop."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from musicgen_service import folders
from musicgen_service.batch.client import Reply
from musicgen_service.batch.errors import BatchError, RequestFailed
from musicgen_service.batch.items import Item
from musicgen_service.client_errors import ServiceError
from musicgen_service.progress import quiet
from musicgen_service.requests.errors import RequestError
from musicgen_service.serving import request_thread
from musicgen_service.serving.cog_runner import ServiceRunner

_POLL_INTERVAL = 0.02
_TRIAL_SECONDS = 2.0

_T = TypeVar("_T")


class LocalClient:
    """A `Client` in this process.

    Parameters
    ----------
    predictor : carries out the requests; it is started here
    model : the model that is loaded first; others when they are needed
    at_once : number of requests at the same time; by default that of the slots of a step
    """

    def __init__(self, predictor: ServiceRunner, model: str, at_once: int | None) -> None:
        self._predictor = predictor
        self._model = model
        self._at_once = at_once

    async def __aenter__(self) -> Self:
        """Load the model, in a thread: a batch that is stopped does not wait for it."""
        await request_thread.run(lambda: self._predictor.start([self._model]))
        # Imported here: it takes a second, and a list with problems is refused before that.
        from musicgen_service.engine.allocation import MAX_SLOTS

        self.at_once = self._at_once or MAX_SLOTS[self._predictor.service.device.type]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Remove the files of requests that were cancelled in the moment in which they had just been made."""
        self._predictor.service.remove_files()

    def problems(self, item: Item) -> list[str]:
        """None: what this process refuses is known without it."""
        return []

    async def make(self, item: Item, folder: Path) -> Reply:
        """See `Client.make`."""
        return await self._in_thread(lambda: self._make(item, folder))

    async def rate(self, items: Sequence[Item]) -> float:
        """See `Client.rate`; short clips of the first model are made and not kept."""
        inputs = {"prompt": "music", "duration": _TRIAL_SECONDS, "model_version": items[0].model}

        def make(seed: int) -> None:
            self._predictor.service.clips(inputs | {"seed": seed})

        await self._in_thread(partial(make, 1))  # the first takes longer
        at_once, started = min(self.at_once, len(items)), time.monotonic()
        await asyncio.gather(*(self._in_thread(partial(make, seed)) for seed in range(2, 2 + at_once)))
        return at_once * _TRIAL_SECONDS / (time.monotonic() - started)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread of its own; when this task is cancelled, the thread ends first."""
        working: list[threading.Thread] = []

        def noted() -> _T:
            working.append(threading.current_thread())
            with quiet():
                return work()

        try:
            return await request_thread.run(noted)
        except asyncio.CancelledError:
            # It removes its files as it ends.
            while any(thread.is_alive() for thread in working):
                await asyncio.sleep(_POLL_INTERVAL)
            raise

    def _make(self, item: Item, folder: Path) -> Reply:
        started = time.monotonic()
        files: list[Any] = []
        metrics: dict[str, Any] = {}
        try:
            files = self._predictor.carry_out(item.inputs, metrics)
            moved = [Path(shutil.move(file, folder / file.name)) for file in files]
        except (RequestError, ServiceError) as error:
            if problem := folders.problem():
                raise BatchError(problem) from None
            raise RequestFailed(str(error)) from None
        finally:
            if files:
                shutil.rmtree(files[0].parent, ignore_errors=True)
        return Reply(moved, {"predict_time": round(time.monotonic() - started, 3), **metrics})
