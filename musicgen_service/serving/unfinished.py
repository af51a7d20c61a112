"""Notes of predictions that have not ended, by which those of a service that was killed are found."""

import fcntl
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from musicgen_service.serving.models import Models
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.store import Store

_NOBODY = "nobody"
"""The process of what was given up in order."""


class Unfinished:
    """The notes of one process, which is known to live by a lock that it holds.

    Two of them may share a folder for a while: on a cluster, a gateway ends its work when the next one has started.

    Parameters
    ----------
    folder : for the locks; is made if it is missing
    store : has the notes; forgets each when the end of its prediction is added

    Raises
    ------
    OSError
        When the folder cannot be written.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._store = store
        self._process = secrets.token_hex(8)
        # It gets its name when it is locked: others take a file without a lock for that of a process which has ended.
        unnamed = folder / f".{self._process}"
        self._lock = unnamed.open("x")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(folder / self._process)

    def close(self) -> None:
        """Leave what has a note now to others."""
        with suppress(sqlite3.Error):  # without that they are found, too, as those of a process that has died
            self._store.hand_on(self._process, _NOBODY)
        (self._folder / self._process).unlink(missing_ok=True)
        self._lock.close()

    def note(self, prediction: Prediction) -> None:
        """Note a prediction; with its inputs only if it goes on without its client."""
        asked = prediction.request
        request = {
            "webhook": asked.webhook,
            "events": asked.events,
            "base_url": prediction.base_url,
            "created_at": prediction.created_at,
            "model": asked.model.name,
            "inputs": asked.inputs if prediction.is_detached else None,
            "attempts": prediction.attempts,
        }
        job = prediction.as_hosted()
        self._store.add_unfinished(prediction.key, self._process, prediction.owner, job, request)

    def left_behind(self, models: Models) -> list[Prediction]:
        """Claim the predictions of processes that have ended; without inputs, unless they go on without their clients.

        Parameters
        ----------
        models : among which are theirs
        """
        found = []
        for process in self._store.processes():
            if process == _NOBODY or not (process == self._process or self._runs(process)):
                # What was given up in order has harmed nobody.
                attempt = int(process != _NOBODY)
                claimed = self._store.claim(process, self._process)
                found += [_restored(models, attempt, *values) for values in claimed]
        for file in self._folder.glob("[!.]*"):
            if file.name != self._process and not self._runs(file.name):
                file.unlink(missing_ok=True)
        return found

    def _runs(self, process: str) -> bool:
        try:
            with (self._folder / process).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def _restored(
    models: Models, attempt: int, key: str, owner: str, job: dict[str, Any], noted: dict[str, Any]
) -> Prediction:
    """The prediction of a note; `attempt` is 1 where the service died in it."""
    inputs, model = noted.get("inputs"), models.own
    try:
        model = models.named(noted.get("model") or "")
    except Refusal:
        inputs = None  # nobody carries it out any more
    return Prediction(
        PredictionRequest(job["id"], inputs or {}, noted["webhook"], tuple(noted["events"]), model),
        owner,
        key=key,
        base_url=noted["base_url"],
        hosted=job.get("hosted"),
        created_at=noted["created_at"],
        is_detached=inputs is not None,
        attempts=noted.get("attempts", 0) + attempt,
    )
