"""The gateway as an ASGI application: what it answers, wherever its requests come from.

Cog's server uses a prediction's id as a file name, stops for anybody who posts to `/shutdown`, posts webhooks to any
address, refuses a second prediction while one is running, and forgets the result of each. It has no settings for any of
this. So a request is read here, and Cog gets what was written here: canonical JSON, with an id and a webhook of ours.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from musicgen_service import folders
from musicgen_service.progress import log
from musicgen_service.serving import bodies, hosted_replies, request_log, route_schema, training_schema
from musicgen_service.serving.access import Access
from musicgen_service.serving.audio_requests import AudioRequests
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.file_routes import FileRoutes
from musicgen_service.serving.files import Files
from musicgen_service.serving.framing import Framing
from musicgen_service.serving.gateway_options import GatewayOptions
from musicgen_service.serving.hosted_routes import HostedRoutes
from musicgen_service.serving.hosts import Hosts
from musicgen_service.serving.intake import Intake
from musicgen_service.serving.jobs import Jobs
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.object_storage import ObjectStorage
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.rates import Rate
from musicgen_service.serving.readings import Readings
from musicgen_service.serving.request_log import RequestLog
from musicgen_service.serving.results import Results
from musicgen_service.serving.routes import Routes
from musicgen_service.serving.routing import known_as, route
from musicgen_service.serving.takeover import Takeover
from musicgen_service.serving.training_records import TrainingRecords
from musicgen_service.serving.training_routes import TrainingRoutes
from musicgen_service.serving.trainings import Trainings
from musicgen_service.serving.uploads import Uploads
from musicgen_service.serving.upstream import Upstream
from musicgen_service.serving.webhooks import Webhooks

PREFIX = "musicgen-results-"
Connect = Callable[[Availability, AudioSocket, Files], Upstream]
"""Returns what carries predictions out, given what says whether any can be made, what takes their audio, and files."""


class Application:
    """Answers requests.

    Parameters
    ----------
    name : of the sub-folder for its results
    is_local : whether only this machine reaches it
    connect : returns what carries predictions out
    folder_problem : returns a sentence saying why the files of a prediction cannot be written, or None
    options : what else may differ
    worker_socket : returns where the only worker answers questions, or None while there is none
    """

    def __init__(
        self,
        name: str,
        is_local: bool,
        connect: Connect,
        folder_problem: Callable[[], str | None],
        options: GatewayOptions,
        worker_socket: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.metrics = Metrics(worker_socket)
        self.availability = Availability(lambda: self._upstream.is_reachable(), folder_problem)
        self._memory = bodies.BodyMemory(options.body_limits)
        self._audio = AudioSocket()
        self._own_folder: folders.OwnFolder | None = None
        self._results = self._open_results(options, name)
        self._upstream = connect(self.availability, self._audio, self._results.files)
        self._predictions = Predictions(
            self._upstream,
            options.places,
            self._memory,
            self._results,
            self.metrics,
            Rate(options.audio_seconds_per_minute),
            options.prediction_seconds,
        )
        self._trainings = self._open_trainings() if options.trainings else None
        self._results.used = self._used_tokens
        self._webhooks = Webhooks(self._memory, options.webhook_secret)
        self._add_gauges(options)
        self._form = partial(hosted_replies.reported, options.models.own)
        self._takeover = Takeover(
            self._results,
            self._predictions,
            self.availability,
            self._webhooks,
            self.metrics,
            options.models,
            self._form,
        )
        routes = self._routes(options).application(self._running, _middleware(options, is_local))
        self.asgi: ASGIApp = RequestLog(routes, self.metrics, request_log.write_line if options.access_log else None)
        if options.public_url is not None:
            self.asgi = known_as(self.asgi, options.public_url)

    @property
    def files_folder(self) -> Path:
        """The folder of results and uploads."""
        return self._results.files.folder

    @property
    def audio_socket(self) -> Path:
        """Where the worker sends the audio of predictions while it is made."""
        return self._audio.path

    @property
    def unfinished(self) -> int:
        """Number of predictions that have not ended, or whose end has not been reported."""
        return len(self._predictions) + len(self._webhooks)

    @property
    def running(self) -> int:
        """Number of predictions that are being carried out."""
        return self._upstream.running

    def _used_tokens(self) -> set[str]:
        """The tokens of the service's own files that are needed by what has not ended."""
        trained = self._trainings.tokens() if self._trainings is not None else set[str]()
        return self._predictions.tokens() | self._takeover.tokens() | trained

    def start_next(self) -> None:
        """Start predictions that wait, as there may be more slots than before."""
        self._predictions.start_next()

    def give_up(self) -> None:
        """End all predictions, as the service is shutting down; may be called by any thread."""
        self._loop.call_soon_threadsafe(self._predictions.give_up)

    @asynccontextmanager
    async def _running(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        await self._upstream.open()
        await self._audio.open()
        repeated = self._results.sweep_regularly(), self._takeover.look_regularly()
        tasks = [asyncio.create_task(work) for work in repeated]
        yield
        for task in tasks:
            task.cancel()
        await self._predictions.leave()
        if self._trainings is not None:
            await self._trainings.close()
        await self._webhooks.close()
        await self._upstream.close()
        await self._audio.close()
        await self._results.close()
        if self._own_folder is not None:
            self._own_folder.remove()

    def _routes(self, options: GatewayOptions) -> Routes:
        results, predictions, models, memory = self._results, self._predictions, options.models, self._memory
        uploads = Uploads(results, options.max_upload, options.max_archive, options.max_uploads, memory.limits.seconds)
        audio_requests = AudioRequests(memory, results.files)
        files = FileRoutes(results.files, uploads, audio_requests)
        intake = Intake(
            self.availability, predictions, self._webhooks, files, memory, options.max_audio_seconds, self._form
        )
        jobs = Jobs(predictions, self._takeover, results)
        trainings = TrainingRoutes(models, self.availability, self._trainings, files, self._webhooks, memory)
        hosted = HostedRoutes(
            models, intake, memory, jobs, results.files, files, trainings.routes(), options.webhook_secret
        )
        readings = Readings(memory)
        others = [
            *files.routes(),
            route("/analyse", POST=audio_requests.analyse),
            route("/sections", POST=readings.sections),
            route("/chords", POST=readings.chords),
            hosted.mounted(),
        ]
        metrics = None if options.metrics == "off" else self.metrics
        own, upstream = models.own, self._upstream
        trains = self._trainings is not None and own.trains
        schema = None if own.schema is None else route_schema.added_to(own.schema)
        if schema is not None and trains:
            schema = training_schema.added_to(schema)
        return Routes(
            self.availability,
            upstream,
            models,
            schema,
            predictions,
            intake,
            memory,
            jobs,
            results.files,
            metrics,
            others,
        )

    def _add_gauges(self, options: GatewayOptions) -> None:
        """Add the metrics that are read off the gateway's state."""
        add = self.metrics.gauge
        add("musicgen_queue_length", "Predictions that wait for their turn", lambda: self._predictions.waiting)
        add("musicgen_queue_places", "Predictions that may wait", lambda: options.places)
        add("musicgen_predictions_running", "Predictions whose turn has come", lambda: self._predictions.running)
        add("musicgen_predictions_at_once", "Predictions that may run at the same time", lambda: self._upstream.slots)
        add(
            "musicgen_requests_held_bytes",
            "Bodies that arrive, wait or run, and replies and reports until they are received",
            lambda: self._memory.held,
        )

    def _open_results(self, options: GatewayOptions, name: str) -> Results:
        """Open the results of that name; in a temporary folder where the one for them cannot be written."""
        storage = None if options.upload_url is None else ObjectStorage(options.upload_url)
        if options.results is not None:
            try:
                return Results(options.results / name, options.keep_seconds, storage)
            except (OSError, sqlite3.Error) as error:
                log(f"results will not survive a restart: {options.results} cannot be written ({error})")
        self._own_folder = folders.OwnFolder(PREFIX)
        return Results(self._own_folder.path, options.keep_seconds, storage)

    def _open_trainings(self) -> Trainings:
        return Trainings(TrainingRecords(self._results.folder / "trainings"), self._results.files)


def _middleware(options: GatewayOptions, is_local: bool) -> list[Middleware]:
    """What a request goes through before its route, the outermost first."""
    cross_origin = Middleware(
        CORSMiddleware,
        allow_origins=options.origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "Prefer", "Range", "traceparent", "tracestate"),
        expose_headers=(
            *("Content-Disposition", "Content-Range", "ETag", "Retry-After"),
            *("X-Audio-Level", "X-Audio-Seconds", "X-Prediction-Id", "X-Real-Time-Factor"),
        ),
    )
    return [
        Middleware(Framing),
        Middleware(Hosts, options.hosts, options.origins, is_local),
        *([cross_origin] if options.origins else []),
        Middleware(Access, options.keys, Rate(options.requests_per_minute), shows_metrics=options.metrics == "open"),
    ]
