"""Tells clients of the predictions that a service which was killed has left behind."""

import asyncio
from functools import partial

from musicgen_service.progress import log
from musicgen_service.serving.intake import Form, webhook_address
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.models import Model
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import LOST, Refusal
from musicgen_service.serving.results import Results
from musicgen_service.serving.webhooks import Webhooks

_INTERVAL = 5.0
"""Seconds between two looks: a gateway of a cluster may end long after its successor has started."""


class LostPredictions:
    """Ends them as failed, as the service keeps no inputs with which they could be carried out.

    Parameters
    ----------
    results : has them
    webhooks : report them
    metrics : count them
    model : of which they are said to be
    form : what webhooks report of a prediction
    """

    def __init__(self, results: Results, webhooks: Webhooks, metrics: Metrics, model: Model, form: Form) -> None:
        self._results = results
        self._webhooks = webhooks
        self._metrics = metrics
        self._model = model
        self._form = form

    async def tell(self) -> None:
        """Tell of those that there are."""
        for prediction in await self._results.left_behind(self._model):
            log(f"prediction {prediction.id} was lost when the service ended")
            prediction.fail(Refusal(502, LOST))
            await self._report(prediction)
            await self._results.add(prediction)
            prediction.conclude()
            self._metrics.ended(prediction)

    async def tell_regularly(self) -> None:
        """Tell of those that there are, until cancelled."""
        while True:
            await self.tell()
            await asyncio.sleep(_INTERVAL)

    async def _report(self, prediction: Prediction) -> None:
        """Have it reported to its webhook, if it has one."""
        try:
            webhook = await webhook_address(prediction.request.webhook)
        except Refusal as refusal:
            log(f"prediction {prediction.id} is not reported: {refusal}")
            return
        if webhook is not None:
            prediction.on_event = self._webhooks.report(prediction, webhook, partial(self._form, prediction))
