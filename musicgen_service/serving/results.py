"""What is kept of predictions that have ended, and of uploads: their state in a database, their files in a folder."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from musicgen_service.progress import log
from musicgen_service.serving.files import Files
from musicgen_service.serving.models import Models
from musicgen_service.serving.object_storage import ObjectStorage
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.store import Store
from musicgen_service.serving.unfinished import Unfinished

MAX_BYTES = 2 * 10**9
"""Maximum size of all predictions, files and rows of the database together; beyond it, the oldest are removed."""
_SWEEP_INTERVAL = 60.0
_NOTED_WITHIN = 600.0
"""Seconds after which files of which there is no note are removed."""


class Results:
    """Keeps results for some time, across restarts.

    Parameters
    ----------
    folder : for this service alone; is made if it is missing
    keep_seconds : how long results are kept
    storage : where the files of results are put besides, if anywhere; their addresses are those there

    Attributes
    ----------
    folder : where they are kept
    files : of results and uploads
    store : what is known of them
    used : returns the tokens of files that predictions which have not ended need, which are kept as long

    Raises
    ------
    OSError, sqlite3.Error
        When the folder cannot be written.
    """

    def __init__(self, folder: Path, keep_seconds: float, storage: ObjectStorage | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.keep_seconds = keep_seconds
        self._storage = storage
        self.store = Store(folder / "predictions.sqlite")
        (folder / "files").mkdir(mode=0o700, exist_ok=True)
        self.files = Files(folder / "files")
        self._unfinished = Unfinished(folder / "running", self.store)
        self.used: Callable[[], Set[str]] = frozenset

    async def close(self) -> None:
        """Close the database, and the connections to where files are put."""
        self._unfinished.close()
        self.store.close()
        if self._storage is not None:
            await self._storage.close()

    async def save_files(self, prediction: Prediction, reply: Mapping[str, Any]) -> Any:
        """Save the files in Cog's reply to a prediction, before it is said to have ended; returns its output.

        Raises
        ------
        Refusal
            When they cannot be put where the operator keeps them.
        """
        output, names = reply["output"], (reply.get("metrics") or {}).get("files", [])
        try:
            prediction.saved = await asyncio.to_thread(self.files.save, output, names)
        except OSError as error:
            log(f"the files of prediction {prediction.id} are not kept: {error.strerror}")
            return output
        if self._storage is None:
            return output
        prediction.saved = await self._storage.put(prediction.saved, self.files)
        return prediction.saved.output

    async def note(self, prediction: Prediction) -> None:
        """Note a prediction that has not ended."""
        try:
            await asyncio.to_thread(self._unfinished.note, prediction)
        except sqlite3.Error as error:
            log(f"prediction {prediction.id} would not survive a restart: {error}")

    async def left_behind(self, models: Models) -> list[Prediction]:
        """The predictions that others, which have ended, have noted and not ended; see `Unfinished.left_behind`."""
        try:
            return await asyncio.to_thread(self._unfinished.left_behind, models)
        except (OSError, sqlite3.Error) as error:
            log(f"what the service has left behind is not known: {error}")
            return []

    async def add(self, prediction: Prediction) -> None:
        """Note a prediction that has ended."""
        saved, job = prediction.saved, prediction.as_kept()
        token, size = (saved.token, saved.size) if saved else (None, 0)
        try:
            await asyncio.to_thread(self.store.add, prediction.key, prediction.owner, job, token, size)
        except sqlite3.Error as error:
            log(f"prediction {prediction.id} is not kept: {error}")

    async def find(self, owner: str, prediction_id: str) -> dict[str, Any] | None:
        """A client's prediction of that id, as a job with addresses relative to the service's."""
        return await asyncio.to_thread(self.store.find, owner, prediction_id)

    async def with_key(self, key: str) -> dict[str, Any] | None:
        """Whoever's prediction that has this key, as `find` gives it."""
        return await asyncio.to_thread(self.store.with_key, key)

    async def owned_by(self, owner: str) -> list[dict[str, Any]]:
        """A client's predictions, the newest first."""
        return await asyncio.to_thread(self.store.owned_by, owner)

    async def sweep(self) -> None:
        """Remove what is too old or too much."""
        try:
            await asyncio.to_thread(self._sweep, time.time(), self.used())
        except (OSError, sqlite3.Error) as error:
            log(f"old predictions are not removed: {error}")

    def _sweep(self, now: float, used: Set[str] = frozenset()) -> None:
        tokens = self.store.remove(now - self.keep_seconds, MAX_BYTES, used)
        # A service that was killed, or a prediction that was cancelled at its very end, leaves files without a note.
        tokens += set(self.files.written_before(now - _NOTED_WITHIN)) - self.store.tokens()
        for token in tokens:
            self.files.remove(token)

    async def sweep_regularly(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(_SWEEP_INTERVAL)
