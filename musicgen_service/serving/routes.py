"""The routes of the gateway, as an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import StatelessLifespan

from musicgen_service import __version__
from musicgen_service.serving import bodies, clients, prediction_request
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.cog_client import CogClient
from musicgen_service.serving.input_checks import InputChecks
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.webhooks import Address, Webhooks

ROUTES = {
    "GET /": "which routes there are",
    "GET /health-check": "the state of the service, in `status`; always 200",
    "GET /openapi.json": "the schema of requests and replies",
    "POST /predictions": "make a prediction; the reply is its result",
    "PUT /predictions/ID": "the same, with the id in the address",
    "POST /predictions/ID/cancel": "end it",
}


class _AnyText(StringConvertor):
    """Takes what is no id, too, which is then refused with a sentence."""

    regex = r"[\s\S]*"


register_url_convertor("text", _AnyText())


class Routes:
    """Handles requests.

    Parameters
    ----------
    availability : whether predictions can be made
    cog : Cog's server
    predictions : those that have not ended
    webhooks : reports to clients
    memory : counts the bodies of requests
    schema : of the predictor, in the form of Cog's; without it, inputs are not checked before Cog
    """

    def __init__(
        self,
        availability: Availability,
        cog: CogClient,
        predictions: Predictions,
        webhooks: Webhooks,
        memory: bodies.Memory,
        schema: Mapping[str, Any] | None,
    ) -> None:
        self._availability = availability
        self._cog = cog
        self._predictions = predictions
        self._webhooks = webhooks
        self._memory = memory
        self._schema = schema
        self._checks = InputChecks(schema) if schema else None

    def application(self, lifespan: StatelessLifespan[Starlette]) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self._root),
            Route("/health-check", self._health),
            Route("/openapi.json", self._openapi),
            Route("/predictions", self._predict, methods=["POST"]),
            Route("/predictions/{id:text}/cancel", self._cancel, methods=["POST"]),
            Route("/predictions/{id:text}", self._predict, methods=["PUT"]),
        ]
        handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
            Refusal: _refused,
            HTTPException: _no_route,
            Exception: _broken,
        }
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)

    async def _root(self, request: Request) -> Response:
        return reply(200, {"service": "musicgen-service", "version": __version__, "routes": ROUTES})

    async def _health(self, request: Request) -> Response:
        health = self._availability.health() or await self._cog.health()
        # Between the two, the server may have ended.
        return reply(200, health or self._availability.health() or {"status": "STARTING"})

    async def _openapi(self, request: Request) -> Response:
        if self._schema is None:
            raise Refusal(503, "The schema is not available.")
        return reply(200, self._schema)

    async def _predict(self, request: Request) -> Response:
        in_path = request.path_params.get("id")
        if in_path is not None:
            prediction_request.check_id(in_path)
        if "text/event-stream" in request.headers.get("accept", ""):
            raise Refusal(406, "Predictions are not streamed.")
        body = await bodies.read(request, self._memory)
        asked = prediction_request.read(body, in_path, self._checks)
        del body
        webhook = None if asked.webhook is None else await Address.check(asked.webhook)
        await asyncio.to_thread(self._availability.check)
        owner = clients.owner(request)
        if asked.id is not None and (running := self._predictions.find(owner, asked.id)):
            return reply(202, running.as_cog())
        prediction = Prediction(asked, owner)
        self._predictions.add(prediction)
        if webhook is not None:
            self._webhooks.report(prediction, webhook)
        if "respond-async" in _preferences(request):
            return reply(202, {"id": prediction.id, "status": "starting"})
        return await self._result(request, prediction)

    async def _cancel(self, request: Request) -> Response:
        prediction_id = prediction_request.check_id(request.path_params["id"])
        prediction = self._predictions.find(clients.owner(request), prediction_id)
        if prediction is None:
            raise Refusal(404, "There is no such prediction, or it has ended.")
        await self._predictions.cancel(prediction)
        return reply(200, {})

    async def _result(self, request: Request, prediction: Prediction) -> Response:
        """Wait for a prediction; it is cancelled when the client disconnects."""
        ended = asyncio.create_task(prediction.ended.wait())
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            gone.cancel()
        if not prediction.ended.is_set():
            await self._predictions.cancel(prediction)
        return reply(200, prediction.as_cog()) if prediction.refusal is None else prediction.refusal.response()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _preferences(request: Request) -> set[str]:
    """What the header `Prefer` says, in lower case."""
    return {word.strip().lower() for word in request.headers.get("prefer", "").split(",")}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.method == "OPTIONS" and error.status_code == 405:
        return Response(status_code=204, headers=error.headers)
    sentences = {
        404: "There is nothing here: post predictions to /predictions.",
        405: f"{request.method} is not possible here.",
    }
    refusal = Refusal(error.status_code, sentences.get(error.status_code, str(error.detail)))
    response = refusal.response()
    response.headers.update(error.headers or {})
    return response


async def _broken(request: Request, error: Exception) -> Response:
    return Refusal(500, "Something went wrong inside the service.").response()
