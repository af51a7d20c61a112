"""What a client may see of its predictions: those that have not ended, and those that are kept."""

from typing import Any

from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.results import Results
from musicgen_service.serving.takeover import Takeover


class Jobs:
    """Finds the predictions of clients, with addresses relative to the service's.

    Parameters
    ----------
    predictions : those that have not ended
    takeover : those that a service which has ended has left behind
    results : those that have ended
    """

    def __init__(self, predictions: Predictions, takeover: Takeover, results: Results) -> None:
        self._predictions = predictions
        self._takeover = takeover
        self._results = results

    async def find(self, owner: str, prediction_id: str) -> dict[str, Any]:
        """A client's prediction.

        Raises
        ------
        Refusal
            When there is none of that id.
        """
        if prediction := self._predictions.find(owner, prediction_id):
            return self._unfinished(prediction)
        if (job := await self._results.find(owner, prediction_id)) is None:
            raise _missing()
        return job

    async def with_key(self, key: str, prediction_id: str) -> dict[str, Any]:
        """Whoever's prediction that has ended, by its key.

        Raises
        ------
        Refusal
            When there is none of that key and id.
        """
        job = await self._results.with_key(key)
        if job is None or job["id"] != prediction_id:
            raise _missing()
        return job

    async def owned_by(self, owner: str) -> list[dict[str, Any]]:
        """A client's predictions, the newest first."""
        found = [self._unfinished(prediction) for prediction in reversed(self._predictions.owned_by(owner))]
        known = {(job["id"], job["created_at"]) for job in found}
        # One that was noted just now is in both.
        kept = await self._results.owned_by(owner)
        return found + [job for job in kept if (job["id"], job["created_at"]) not in known]

    async def cancel(self, owner: str, prediction_id: str) -> Prediction | None:
        """Cancel a client's prediction; returns it, or None where there is none that has not ended."""
        prediction = self._predictions.find(owner, prediction_id)
        if prediction is not None and not prediction.ended.is_set():
            await self._predictions.cancel(prediction)
        elif (prediction := self._takeover.find(owner, prediction_id)) is not None:
            await self._takeover.cancel(prediction)
        return prediction

    def _unfinished(self, prediction: Prediction) -> dict[str, Any]:
        # Nobody can guess the key, so it stands for that of the client where none can be sent.
        address = f"/predictions/{prediction.id}/audio?token={prediction.key}"
        job, queue = prediction.as_hosted() | {"audio": address}, self._predictions.queue_of(prediction)
        return job if queue is None else job | {"queue": queue}


def _missing() -> Refusal:
    return Refusal(404, "There is no such prediction, or it ended too long ago.")


def plain(job: dict[str, Any]) -> dict[str, Any]:
    """A prediction without what only clients of the hosted platform are told."""
    return {name: value for name, value in job.items() if name != "hosted"}
