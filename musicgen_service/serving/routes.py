"""The routes of the gateway, as an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import StatelessLifespan

from musicgen_service import __version__
from musicgen_service.requests.tasks import TASKS
from musicgen_service.serving import bodies, clients, files, model_list, prediction_request, refusals
from musicgen_service.serving.audio_requests import AudioRequests, disconnected
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.cog_client import CogClient
from musicgen_service.serving.input_checks import InputChecks
from musicgen_service.serving.listening import EVENT_STREAM, AudioAnswer, EventsAnswer, FinishedEvents, finished_audio
from musicgen_service.serving.metrics import CONTENT_TYPE, Metrics
from musicgen_service.serving.page_files import PageFiles
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.results import Results
from musicgen_service.serving.webhooks import Address, Webhooks
from musicgen_service.serving.work import Work

ROUTES = {
    "GET /": "the page, for a browser; for others, which routes there are",
    "GET /health-check": "the state of the service, in `status`; always 200",
    "GET /livez": "200, or 503 when the service is to be started again",
    "GET /readyz": "200 when predictions are accepted, or else 503",
    "GET /metrics": "what is counted, for Prometheus",
    "GET /openapi.json": "the schema of requests and replies",
    "POST /predictions": "make a prediction; the reply is its result",
    "PUT /predictions/ID": "the same, with the id in the address",
    "POST /predictions/stream": "make a prediction; the reply is its audio while it is made",
    "POST /predictions/ID/stream": "the same, with the id in the address",
    "GET /predictions/ID/audio": "its audio from the beginning on, also while it is made",
    "POST /predictions/ID/cancel": "end it",
    "GET /predictions/ID": "how far it is, and its result",
    "GET /predictions": "the latest ones of this client",
    "GET /files/NAME": "a file of a result; with `?format=`, converted",
    "POST /analyse": "tempo, beats, key, chords and loudness of a recording",
    "GET /models": "which models there are, and which of them are present",
}
_READY = ("READY", "BUSY")
"""When it is busy, predictions wait for their turn."""
_NOT_LIVE = ("UNHEALTHY", "DEFUNCT", "SETUP_FAILED")


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
    results : of predictions that have ended
    memory : counts the bodies of requests
    schema : of the predictor, in the form of Cog's; without it, inputs are not checked before Cog
    max_audio_seconds : how much audio one request may ask for
    metrics : shown to clients; None when nobody may read them
    """

    def __init__(
        self,
        availability: Availability,
        cog: CogClient,
        predictions: Predictions,
        webhooks: Webhooks,
        results: Results,
        memory: bodies.BodyMemory,
        schema: Mapping[str, Any] | None,
        max_audio_seconds: float,
        metrics: Metrics | None,
    ) -> None:
        self._metrics = metrics
        self._availability = availability
        self._cog = cog
        self._predictions = predictions
        self._webhooks = webhooks
        self._results = results
        self._memory = memory
        self._schema = schema
        self._checks = InputChecks(schema) if schema else None
        self._work = Work(schema, max_audio_seconds) if schema else None
        self._page = PageFiles()
        self._audio_requests = AudioRequests(memory)

    def application(self, lifespan: StatelessLifespan[Starlette], middleware: Sequence[Middleware]) -> Starlette:
        """The ASGI application."""
        routes = [
            _route("/", GET=self._root),
            _route("/health-check", GET=self._health),
            _route("/livez", GET=self._live),
            _route("/readyz", GET=self._ready),
            _route("/metrics", GET=self._show_metrics),
            _route("/openapi.json", GET=self._openapi),
            _route("/predictions", GET=self._jobs, POST=self._predict),
            _route("/predictions/stream", POST=self._stream),
            _route("/predictions/{id:text}/stream", POST=self._stream),
            _route("/predictions/{id:text}/audio", GET=self._audio),
            _route("/predictions/{id:text}/cancel", POST=self._cancel),
            _route("/predictions/{id:text}", GET=self._job, PUT=self._predict),
            _route("/files/{token}/{name}", GET=self._file),
            _route("/analyse", POST=self._audio_requests.analyse),
            _route("/models", GET=model_list.answer),
            Mount("/page", self._page),
        ]
        return Starlette(routes=routes, middleware=middleware, exception_handlers=refusals.HANDLERS, lifespan=lifespan)

    async def _root(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return self._page.index(request.scope)
        return reply(200, {"service": "musicgen-service", "version": __version__, "routes": ROUTES})

    async def _health(self, request: Request) -> Response:
        return reply(200, await self._state())

    async def _live(self, request: Request) -> Response:
        status = (await self._state())["status"]
        return reply(503 if status in _NOT_LIVE else 200, {"status": status})

    async def _ready(self, request: Request) -> Response:
        status = (await self._state())["status"]
        return reply(200 if status in _READY else 503, {"status": status})

    async def _state(self) -> dict[str, Any]:
        """The health of the service."""
        health = self._availability.health() or await self._cog.health()
        # Between the two, the server may have ended.
        return health or self._availability.health() or {"status": "STARTING"}

    async def _show_metrics(self, request: Request) -> Response:
        if self._metrics is None:
            raise Refusal(404, "The metrics are turned off.")
        return Response(await self._metrics.text(), media_type=CONTENT_TYPE)

    async def _openapi(self, request: Request) -> Response:
        if self._schema is None:
            raise Refusal(503, "The schema is not available.")
        return reply(200, self._schema)

    async def _predict(self, request: Request) -> Response:
        if _wants_events(request):
            raise Refusal(406, "Events are at /predictions/stream and /predictions/ID/audio.")
        prediction, is_new = await self._accept(request, is_heard=False)
        if not is_new:
            return reply(202, prediction.as_cog())
        if "respond-async" in _preferences(request):
            return reply(202, {"id": prediction.id, "status": "starting"})
        return await self._result(request, prediction)

    async def _stream(self, request: Request) -> Response:
        prediction, _ = await self._accept(request, is_heard=True)
        return self._listening(request, prediction)

    async def _accept(self, request: Request, *, is_heard: bool) -> tuple[Prediction, bool]:
        """Let the prediction that is asked for wait for its turn.

        Parameters
        ----------
        is_heard : whether it is asked for to be heard

        Returns
        -------
        The prediction, and whether it is new: one of its id that has not ended is that one
        """
        in_path = request.path_params.get("id")
        if in_path is not None:
            prediction_request.check_id(in_path)
        body = await bodies.read(request, self._memory)
        asked = prediction_request.read(body, in_path, self._checks)
        del body
        task = TASKS.get(str(asked.inputs.get("task")))
        if is_heard and task is not None and task.not_streamed is not None:
            raise Refusal(422, task.not_streamed)
        audio_seconds = self._work.check(asked.inputs) if self._work else 0.0
        webhook = None if asked.webhook is None else await Address.check(asked.webhook)
        await asyncio.to_thread(self._availability.check)
        owner = clients.owner(request)
        if asked.id is not None and (running := self._predictions.find(owner, asked.id)) and not running.ended.is_set():
            return running, False
        preferences = _preferences(request)
        # Without an id nobody can name it before its reply.
        is_watched = is_heard or asked.id is not None or webhook is not None or "respond-async" in preferences
        prediction = Prediction(
            asked,
            owner,
            request.state.trace,
            is_watched=is_watched,
            is_heard=is_heard,
            audio_seconds=audio_seconds,
        )
        if is_heard or preferences & {"respond-async", "output=url"}:
            prediction.base_url = _base_url(request)
        request.state.prediction = prediction.id
        self._predictions.add(prediction)
        if webhook is not None:
            self._webhooks.report(prediction, webhook)
        return prediction, True

    async def _audio(self, request: Request) -> Response:
        prediction_id, owner = _prediction_id(request), clients.owner(request)
        prediction = self._predictions.find(owner, prediction_id)
        if prediction is not None and not prediction.ended.is_set():
            return self._listening(request, prediction)
        job = prediction.as_job() if prediction else await self._results.find(owner, prediction_id)
        if job is None:
            raise Refusal(404, "There is no such prediction, or it ended too long ago.")
        if _wants_events(request):
            return FinishedEvents(job, _base_url(request))
        return finished_audio(job, self._results.files)

    def _listening(self, request: Request, prediction: Prediction) -> Response:
        if _wants_events(request):
            return EventsAnswer(prediction, self._predictions, _base_url(request))
        return AudioAnswer(prediction, self._predictions, self._results.files)

    async def _cancel(self, request: Request) -> Response:
        prediction = self._predictions.find(clients.owner(request), _prediction_id(request))
        if prediction is None or prediction.ended.is_set():
            raise Refusal(404, "There is no such prediction, or it has ended.")
        await self._predictions.cancel(prediction)
        return reply(200, {})

    async def _job(self, request: Request) -> Response:
        prediction_id, owner = _prediction_id(request), clients.owner(request)
        if prediction := self._predictions.find(owner, prediction_id):
            return reply(200, self._shown(prediction, request))
        if (job := await self._results.find(owner, prediction_id)) is None:
            raise Refusal(404, "There is no such prediction, or it ended too long ago.")
        return reply(200, _with_addresses(job, request))

    async def _jobs(self, request: Request) -> Response:
        owner = clients.owner(request)
        shown = [self._shown(prediction, request) for prediction in reversed(self._predictions.owned_by(owner))]
        known = {(job["id"], job["created_at"]) for job in shown}
        for job in await self._results.owned_by(owner):
            if (job["id"], job["created_at"]) not in known:  # one that was noted just now
                shown.append(_with_addresses(job, request))
        return reply(200, {"results": shown})

    async def _file(self, request: Request) -> Response:
        file = self._results.files.find(request.path_params["token"], request.path_params["name"])
        if file is None:
            raise Refusal(404, "There is no such file, or it was made too long ago.")
        wanted = request.query_params.get("format")
        if wanted is None or wanted == file.suffix.removeprefix("."):
            return files.response(file)
        converted = await self._audio_requests.convert(request, file, wanted)
        return files.response(converted, f"{file.stem}.{wanted}", BackgroundTask(converted.unlink, missing_ok=True))

    def _shown(self, prediction: Prediction, request: Request) -> dict[str, Any]:
        """A prediction that has not been noted in the results, as its client polls it."""
        job = _with_addresses(prediction.as_job(), request)
        queue = self._predictions.queue_of(prediction)
        return job if queue is None else job | {"queue": queue}

    async def _result(self, request: Request, prediction: Prediction) -> Response:
        """Wait for a prediction; it is cancelled when the client disconnects."""
        ended = asyncio.create_task(prediction.ended.wait())
        gone = asyncio.create_task(disconnected(request))
        try:
            await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            gone.cancel()
        if not prediction.ended.is_set():
            await self._predictions.cancel(prediction)
        return reply(200, prediction.as_cog()) if prediction.refusal is None else prediction.refusal.response()


def _route(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route with a handler for each method."""

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, handle, methods=list(handlers))


def _wants_events(request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("accept", "")


def _preferences(request: Request) -> set[str]:
    """What the header `Prefer` says, in lower case."""
    return {word.strip().lower() for word in request.headers.get("prefer", "").split(",")}


def _prediction_id(request: Request) -> str:
    """The id in the address of a request."""
    request.state.prediction = prediction_id = prediction_request.check_id(request.path_params["id"])
    return prediction_id


def _base_url(request: Request) -> str:
    """The address of the service, as the client knows it."""
    return str(request.base_url).rstrip("/")


def _with_addresses(job: dict[str, Any], request: Request) -> dict[str, Any]:
    return job | {"output": files.absolute(job["output"], _base_url(request))}
