"""Carries on with the predictions that a service which has ended has left behind, or tells their clients."""

import asyncio
from functools import partial

from musicgen_service.progress import log
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.intake import Form
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.models import Models
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.predictions import ATTEMPTS, Predictions
from musicgen_service.serving.refusals import LOST, Refusal
from musicgen_service.serving.results import Results
from musicgen_service.serving.webhooks import Webhooks

_INTERVAL = 1.0
"""Seconds between two looks: a gateway of a cluster may end long after its successor has started."""


class Takeover:
    """Carries out those that go on without their clients, as often as after a worker's death; ends others as failed.

    Parameters
    ----------
    results : has them
    predictions : those that have not ended, to which they are added
    availability : whether predictions can be made
    webhooks : report them
    metrics : count those that are ended here
    models : which may carry them out
    form : what webhooks report of a prediction
    """

    def __init__(
        self,
        results: Results,
        predictions: Predictions,
        availability: Availability,
        webhooks: Webhooks,
        metrics: Metrics,
        models: Models,
        form: Form,
    ) -> None:
        self._results = results
        self._predictions = predictions
        self._availability = availability
        self._webhooks = webhooks
        self._metrics = metrics
        self._models = models
        self._form = form
        self._waiting: list[Prediction] = []

    async def look_regularly(self) -> None:
        """Take over what there is, again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Take over what there is; what cannot be carried out yet is left for the next look."""
        self._waiting += await self._results.left_behind(self._models)
        is_available = bool(self._waiting) and await self._is_available()
        for prediction in list(self._waiting):
            if prediction not in self._waiting:  # cancelled meanwhile
                continue
            if self._is_lost(prediction):
                log(f"prediction {prediction.id} was lost when the service ended")
                prediction.fail(Refusal(502, LOST))
                await self._end(prediction)
            elif is_available and self._carry_on(prediction):
                self._waiting.remove(prediction)

    def tokens(self) -> set[str]:
        """The tokens of the service's own files that are inputs of predictions which wait to be taken over."""
        return {token for prediction in self._waiting for token in prediction.request.tokens}

    def find(self, owner: str, prediction_id: str) -> Prediction | None:
        """A client's prediction that waits to be taken over."""
        found = [waiting for waiting in self._waiting if (waiting.owner, waiting.id) == (owner, prediction_id)]
        return found[-1] if found else None

    async def cancel(self, prediction: Prediction) -> None:
        """Cancel a prediction that waits to be taken over."""
        prediction.cancel()
        await self._end(prediction)

    async def _is_available(self) -> bool:
        try:
            await asyncio.to_thread(self._availability.check)
        except Refusal:
            return False
        return True

    def _is_lost(self, prediction: Prediction) -> bool:
        """Whether it is not carried out once more. Another one may have its name by now."""
        has_successor = self._predictions.find(prediction.owner, prediction.id) is not None
        return not prediction.is_detached or prediction.attempts >= ATTEMPTS or has_successor

    def _carry_on(self, prediction: Prediction) -> bool:
        """Let it wait for its turn; returns whether it does."""
        try:
            self._predictions.add(prediction)
        except Refusal:  # too many are waiting
            return False
        log(f"prediction {prediction.id} is taken over from a service that has ended")
        self._report(prediction)
        return True

    async def _end(self, prediction: Prediction) -> None:
        """Tell of the end of one that waits no longer."""
        self._waiting.remove(prediction)
        self._report(prediction)
        await self._results.add(prediction)
        prediction.conclude()
        self._metrics.ended(prediction)
        prediction.give_up_inputs()

    def _report(self, prediction: Prediction) -> None:
        """Have it reported to its webhook, if it has one."""
        if (webhook := prediction.request.webhook) is not None:
            prediction.on_event = self._webhooks.report(prediction, webhook, partial(self._form, prediction))
