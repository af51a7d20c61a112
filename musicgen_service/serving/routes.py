"""The routes of the gateway, as an ASGI application."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import StatelessLifespan

from musicgen_service import __version__
from musicgen_service.requests.tasks import TASKS
from musicgen_service.serving import clients, prediction_request, refusals
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.bodies import BodyMemory
from musicgen_service.serving.files import Files, absolute
from musicgen_service.serving.hang_ups import HungUp, unless_hung_up
from musicgen_service.serving.held_reply import HeldReply
from musicgen_service.serving.intake import Intake
from musicgen_service.serving.jobs import Jobs, plain
from musicgen_service.serving.listening import EVENT_STREAM, AudioAnswer, EventsAnswer, FinishedEvents, finished_audio
from musicgen_service.serving.metrics import CONTENT_TYPE, Metrics
from musicgen_service.serving.model_list import ModelList
from musicgen_service.serving.models import Models
from musicgen_service.serving.page_files import PageFiles
from musicgen_service.serving.prediction import ENDED, Prediction
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.routing import base_url, prediction_id, preferences, route
from musicgen_service.serving.upstream import Upstream

ROUTES = {
    "GET /": "the page, for a browser; for others, which routes there are",
    "GET /health-check": "the state of the service, in `status`; always 200",
    "GET /livez": "200, or 503 when the service is to be started again",
    "GET /readyz": "200 when predictions are accepted, or else 503",
    "GET /metrics": "what is counted, for Prometheus",
    "GET /openapi.json": "the schema of requests and replies, of all routes",
    "POST /predictions": "make a prediction; the reply is its result",
    "PUT /predictions/ID": "the same, with the id in the address",
    "POST /predictions/stream": "make a prediction; the reply is its audio while it is made",
    "POST /predictions/ID/stream": "the same, with the id in the address",
    "GET /predictions/ID/audio": "its audio from the beginning on, also while it is made",
    "POST /predictions/ID/cancel": "end it",
    "GET /predictions/ID": "how far it is, and its result",
    "GET /predictions": "the latest ones of this client",
    "GET /files/TOKEN/NAME": "a file of a result, or an uploaded one; with `?format=`, converted",
    "POST /files": "upload a file, whose address can be an input",
    "GET /files": "the uploaded files of this client",
    "GET /files/ID": "what is known of an uploaded file",
    "DELETE /files/ID": "delete it",
    "POST /analyse": "tempo, beats, key, chords and loudness of a recording",
    "POST /sections": "how the sections of a piece are read, and how long they are",
    "POST /chords": "how the chords of a text are read",
    "GET /models": "which models there are, and which of them are present",
    "POST /v1/trainings": "train an adapter",
    "GET /v1/trainings": "the trainings of this client",
    "/v1/...": "the same for clients of the hosted platform",
}
_READY = ("READY", "BUSY")
"""When it is busy, predictions wait for their turn."""
_NOT_LIVE = ("UNHEALTHY", "DEFUNCT", "SETUP_FAILED")


class Routes:
    """Handles requests.

    Parameters
    ----------
    availability : whether predictions can be made
    upstream : carries predictions out
    models : what is served
    schema : of requests and replies, as it is published; None where there is none
    predictions : those that have not ended
    intake : takes predictions on
    memory : counts replies with files in them
    jobs : what clients may see of theirs
    files : of results
    metrics : shown to clients; None when nobody may read them
    others : routes of other modules
    """

    def __init__(
        self,
        availability: Availability,
        upstream: Upstream,
        models: Models,
        schema: Mapping[str, Any] | None,
        predictions: Predictions,
        intake: Intake,
        memory: BodyMemory,
        jobs: Jobs,
        files: Files,
        metrics: Metrics | None,
        others: Sequence[BaseRoute],
    ) -> None:
        self._metrics = metrics
        self._availability = availability
        self._upstream = upstream
        self._models = models
        self._schema = schema
        self._predictions = predictions
        self._intake = intake
        self._memory = memory
        self._jobs = jobs
        self._files = files
        self._others = others
        self._page = PageFiles()

    def application(self, lifespan: StatelessLifespan[Starlette], middleware: Sequence[Middleware]) -> Starlette:
        """The ASGI application."""
        routes = [
            route("/", GET=self._root),
            route("/health-check", GET=self._health),
            route("/livez", GET=self._live),
            route("/readyz", GET=self._ready),
            route("/metrics", GET=self._show_metrics),
            route("/openapi.json", GET=self._openapi),
            route("/predictions", GET=self._list, POST=self._predict),
            route("/predictions/stream", POST=self._stream),
            route("/predictions/{id:text}/stream", POST=self._stream),
            route("/predictions/{id:text}/audio", GET=self._audio),
            route("/predictions/{id:text}/cancel", POST=self._cancel),
            route("/predictions/{id:text}", GET=self._job, PUT=self._predict),
            route("/models", GET=ModelList(self._upstream).answer),
            *self._others,
            Mount("/page", GZipMiddleware(self._page)),
        ]
        application = Starlette(
            routes=routes, middleware=middleware, exception_handlers=refusals.HANDLERS, lifespan=lifespan
        )
        application.router.redirect_slashes = False
        return application

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
        health = self._availability.health() or await self._upstream.health()
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
        if "respond-async" in preferences(request):
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
        asked, webhook = await self._intake.read(request, in_path, lambda _: self._models.own)
        task = TASKS.get(str(asked.inputs.get("task")))
        if is_heard and task is not None and task.not_streamed is not None:
            raise Refusal(422, task.not_streamed)
        owner = clients.owner(request)
        if asked.id is not None and (running := self._predictions.find(owner, asked.id)) and not running.ended.is_set():
            return running, False
        preferred = preferences(request)
        # Without an id nobody can name it before its reply.
        is_detached = not is_heard and "respond-async" in preferred
        is_watched = is_heard or is_detached or asked.id is not None or webhook is not None
        prediction = Prediction(
            asked, owner, request.state.trace, is_watched=is_watched, is_heard=is_heard, is_detached=is_detached
        )
        if is_heard or preferred & {"respond-async", "output=url"}:
            prediction.base_url = base_url(request)
        request.state.prediction = prediction.id
        await self._intake.add(prediction, webhook)
        return prediction, True

    async def _audio(self, request: Request) -> Response:
        found, owner, key = prediction_id(request), clients.owner(request), request.query_params.get("token")
        prediction = self._predictions.find(owner, found) if key is None else self._predictions.with_key(key)
        if prediction is not None and prediction.id == found and not prediction.ended.is_set():
            return self._listening(request, prediction)
        job = plain(await (self._jobs.find(owner, found) if key is None else self._jobs.with_key(key, found)))
        if job["status"] not in ENDED:
            raise Refusal(503, "The service has started anew, and this prediction will: try again in a moment.")
        return FinishedEvents(job, base_url(request)) if _wants_events(request) else finished_audio(job, self._files)

    def _listening(self, request: Request, prediction: Prediction) -> Response:
        if _wants_events(request):
            return EventsAnswer(prediction, self._predictions, base_url(request))
        return AudioAnswer(prediction, self._predictions, self._files)

    async def _cancel(self, request: Request) -> Response:
        if await self._jobs.cancel(clients.owner(request), prediction_id(request)) is None:
            raise Refusal(404, "There is no such prediction, or it has ended.")
        return reply(200, {})

    async def _job(self, request: Request) -> Response:
        found = prediction_id(request)
        return reply(200, _shown(await self._jobs.find(clients.owner(request), found), request))

    async def _list(self, request: Request) -> Response:
        jobs = await self._jobs.owned_by(clients.owner(request))
        return reply(200, {"results": [_shown(job, request) for job in jobs]})

    async def _result(self, request: Request, prediction: Prediction) -> Response:
        """Wait for a prediction; it is cancelled when the client disconnects."""
        try:
            await unless_hung_up(request.receive, prediction.ended.wait())
        except HungUp:
            if not prediction.ended.is_set():
                await self._predictions.cancel(prediction)
        if prediction.refusal is not None:
            return prediction.refusal.response()
        return HeldReply(200, prediction.as_cog(), self._memory, prediction.owner)


def _wants_events(request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("accept", "")


def _shown(job: dict[str, Any], request: Request) -> dict[str, Any]:
    """A job as its client polls it."""
    address = base_url(request)
    audio = {"audio": address + job["audio"]} if "audio" in job else {}
    return plain(job) | {"output": absolute(job["output"], address)} | audio
