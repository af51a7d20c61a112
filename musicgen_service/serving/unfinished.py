"""Notes of predictions that have not ended, by which those of a service that was killed are found."""

import fcntl
import secrets
from pathlib import Path

from musicgen_service.serving.models import Model
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.store import Store


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
        """Give up the lock: what has a note now is found by others."""
        (self._folder / self._process).unlink(missing_ok=True)
        self._lock.close()

    def note(self, prediction: Prediction) -> None:
        """Note a prediction."""
        request = {
            "webhook": prediction.request.webhook,
            "events": prediction.request.events,
            "base_url": prediction.base_url,
            "created_at": prediction.created_at,
        }
        job = prediction.as_hosted()
        self._store.add_unfinished(prediction.key, self._process, prediction.owner, job, request)

    def left_behind(self, model: Model) -> list[Prediction]:
        """The predictions of processes that have ended, without their inputs.

        Parameters
        ----------
        model : of which they are said to be
        """
        rows = self._store.unfinished()
        ended = {process for _, process, *_ in rows if process != self._process and not self._runs(process)}
        found = []
        for key, process, owner, job, request in rows:
            if process in ended:
                asked = PredictionRequest(job["id"], {}, request["webhook"], tuple(request["events"]), model)
                prediction = Prediction(asked, owner, key=key, created_at=request["created_at"])
                prediction.base_url, prediction.hosted = request["base_url"], job.get("hosted")
                found.append(prediction)
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
