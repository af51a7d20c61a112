"""Takes predictions on: what all routes that ask for one have in common."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request

from musicgen_service.serving import bodies, prediction_request
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.file_routes import FileRoutes
from musicgen_service.serving.models import Model
from musicgen_service.serving.outbound import Address, AddressError
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.webhooks import Webhooks
from musicgen_service.serving.work import Work

Form = Callable[[Prediction], dict[str, Any]]


class Intake:
    """Reads requests and takes on their predictions.

    Parameters
    ----------
    availability : whether predictions can be made
    predictions : those that have not ended
    webhooks : reports to clients
    files : checks addresses of the service
    memory : counts the bodies of requests
    max_audio_seconds : how much audio one request may ask for
    form : what webhooks report of a prediction
    """

    def __init__(
        self,
        availability: Availability,
        predictions: Predictions,
        webhooks: Webhooks,
        files: FileRoutes,
        memory: bodies.BodyMemory,
        max_audio_seconds: float,
        form: Form,
    ) -> None:
        self._availability = availability
        self._predictions = predictions
        self._webhooks = webhooks
        self._files = files
        self._memory = memory
        self._max_audio_seconds = max_audio_seconds
        self._form = form

    async def read(
        self, request: Request, id_in_path: str | None, model_of: Callable[[Any], Model]
    ) -> tuple[PredictionRequest, Address | None]:
        """Read a request.

        Parameters
        ----------
        request : with a JSON body
        id_in_path : the id in the address, if it has one
        model_of : returns what is to carry it out, for the body

        Returns
        -------
        What is asked for, and its webhook

        Raises
        ------
        Refusal
            When it is not valid, or no prediction can be made.
        """
        # Its inputs count as held until the prediction, which is added at once, counts them itself.
        async with bodies.reading(request, self._memory) as body:
            model = await asyncio.to_thread(model_of, body)  # which may look for it on the disk
            asked = prediction_request.read(body, id_in_path, model)
            self._files.check(asked.inputs, request)
            webhook = await webhook_address(asked.webhook)
            await asyncio.to_thread(self._availability.check)
            return asked, webhook

    async def add(self, prediction: Prediction, webhook: Address | None) -> None:
        """Let a prediction wait for its turn; returns when that would be known after a restart.

        Parameters
        ----------
        prediction : a new one
        webhook : where to report it

        Raises
        ------
        Refusal
            When it asks for too much audio, too many are waiting, or their inputs are too large.
        """
        model = prediction.request.model
        if model.schema is not None:
            work = Work(model.schema, self._max_audio_seconds)
            prediction.audio_seconds = work.check(prediction.request.inputs)
        self._predictions.add(prediction)
        if webhook is not None:
            prediction.on_event = self._webhooks.report(prediction, webhook, partial(self._form, prediction))
        if prediction.is_watched:
            await prediction.noted.wait()


async def webhook_address(url: str | None) -> Address | None:
    """Where a webhook is sent, if it is.

    Raises
    ------
    Refusal
        When it may not be sent there.
    """
    try:
        return None if url is None else await Address.check(url)
    except AddressError as error:
        raise Refusal(422, f"webhook {error}") from None
