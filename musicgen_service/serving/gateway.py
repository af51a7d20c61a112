"""What clients talk to: an HTTP server before Cog's.

Cog's server uses a prediction's id as a file name, stops for anybody who posts to `/shutdown`, posts webhooks to any
address, refuses a second prediction while one is running, and forgets the result of each. It has no settings for any of
this. So a request is read here, and Cog gets what was written here: canonical JSON, with an id and a webhook of ours.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from musicgen_service import folders
from musicgen_service.progress import log
from musicgen_service.serving import bodies, connections, http_server, request_log
from musicgen_service.serving.access import Access
from musicgen_service.serving.api_keys import ApiKeys
from musicgen_service.serving.audio_requests import AudioRequests
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.cog_client import CogClient
from musicgen_service.serving.file_routes import FileRoutes
from musicgen_service.serving.framing import Framing
from musicgen_service.serving.hosted_routes import HostedRoutes
from musicgen_service.serving.hosts import Hosts, is_loopback
from musicgen_service.serving.intake import Intake
from musicgen_service.serving.jobs import Jobs
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.models import Model, Models
from musicgen_service.serving.object_storage import ObjectStorage
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.rates import Rate
from musicgen_service.serving.readings import Readings
from musicgen_service.serving.request_log import RequestLog
from musicgen_service.serving.results import Results
from musicgen_service.serving.routes import Routes
from musicgen_service.serving.routing import known_as, route
from musicgen_service.serving.uploads import Uploads
from musicgen_service.serving.webhooks import Webhooks

PREFIX = "musicgen-results-"


@dataclass(frozen=True)
class GatewayOptions:
    """What one gateway has in place of another.

    Attributes
    ----------
    models : what is served
    slots : number of predictions that Cog carries out at the same time
    places : number of predictions that may wait
    connections_per_address : maximum connections of one address
    head_seconds : maximum time for the head of a request to arrive
    body_limits : see `bodies.Limits`; None for the defaults
    keys : API keys that are valid; None when nobody needs one
    hosts, origins : see `Hosts`
    requests_per_minute : how many requests a client may send
    max_audio_seconds : how much audio one request may ask for
    audio_seconds_per_minute : how much audio a client may ask for
    prediction_seconds : how long a prediction may run
    results : folder of finished predictions, in a sub-folder for each port; None for a temporary one
    keep_seconds : how long they, and uploads, are kept
    metrics : who may read the metrics; one of `settings.METRICS`
    access_log : whether each request is noted on standard output
    max_upload, max_uploads : maximum bytes of an uploaded file, and of all files of one client
    webhook_secret : what webhooks are signed with; None for no signatures
    upload_url : below which the files of results are put; None to keep them here alone
    public_url : the address by which clients know the service; None for that of their requests
    """

    models: Models = field(default_factory=lambda: Models([Model("")]))
    slots: int = 1
    places: int = 100
    connections_per_address: int = 1000
    head_seconds: float = 10.0
    body_limits: bodies.Limits | None = None
    keys: ApiKeys | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    requests_per_minute: float = 6000.0
    max_audio_seconds: float = 1200.0
    audio_seconds_per_minute: float = 6000.0
    prediction_seconds: float = 3600.0
    results: Path | None = None
    keep_seconds: float = 3600.0
    metrics: str = "key"
    access_log: bool = True
    max_upload: int = 100 * 2**20
    max_uploads: int = 500 * 2**20
    webhook_secret: str | None = None
    upload_url: str | None = None
    public_url: str | None = None


class Gateway:
    """Answers clients in a thread of its own.

    Parameters
    ----------
    address : host and port to listen at
    upstream_port : returns the port of Cog's server on this machine, or None while it is not reachable
    folder_problem : returns a sentence saying why the files of a prediction cannot be written, or None
    options : what else may differ
    worker_socket : returns where the worker offers its metrics, or None while there is none

    Raises
    ------
    OSError
        When it cannot listen at the address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        upstream_port: Callable[[], int | None],
        folder_problem: Callable[[], str | None],
        options: GatewayOptions,
        worker_socket: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.metrics = Metrics(worker_socket)
        self.availability = Availability(upstream_port, folder_problem)
        self._memory = bodies.BodyMemory(options.body_limits)
        listener = http_server.listen(*address)
        self._audio = AudioSocket()
        self._cog = CogClient(upstream_port, self.availability.start_problem, self._audio)
        self._own_folder: folders.OwnFolder | None = None
        self._results = self._open_results(options, listener.getsockname()[1])
        self._predictions = Predictions(
            self._cog,
            options.slots,
            options.places,
            self._memory,
            self._results,
            self.metrics,
            Rate(options.audio_seconds_per_minute),
            options.prediction_seconds,
        )
        self._results.used = self._predictions.tokens
        self._webhooks = Webhooks(options.webhook_secret)
        routes = self._routes(options)
        self.limits = connections.Limits(
            options.connections_per_address, connections.max_connections(), options.head_seconds
        )
        self._add_gauges(options)
        write = request_log.write_line if options.access_log else None
        middleware = _middleware(options, is_loopback(listener.getsockname()[0]))
        application: ASGIApp = RequestLog(routes.application(self._running, middleware), self.metrics, write)
        if options.public_url is not None:
            application = known_as(application, options.public_url)
        server = http_server.server(application, connections.protocol(self.limits), self.limits.total)
        self._thread = http_server.ServerThread(listener, server)
        self.address = self._thread.address

    @property
    def files_folder(self) -> Path:
        """The folder of results and uploads."""
        return self._results.files.folder

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to answer, and close every connection."""
        self._thread.stop()

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
        """Number of predictions that Cog's server is carrying out."""
        return self._cog.running

    def give_up(self) -> None:
        """End all predictions, as the service is shutting down."""
        self._loop.call_soon_threadsafe(self._predictions.give_up)

    @asynccontextmanager
    async def _running(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        await self._cog.open()
        await self._audio.open()
        sweeping = asyncio.create_task(self._results.sweep_regularly())
        yield
        sweeping.cancel()
        await self._webhooks.close()
        await self._cog.close()
        await self._audio.close()
        await self._results.close()
        if self._own_folder is not None:
            self._own_folder.remove()

    def _routes(self, options: GatewayOptions) -> Routes:
        results, predictions, models, memory = self._results, self._predictions, options.models, self._memory
        uploads = Uploads(results, options.max_upload, options.max_uploads, memory.limits.seconds)
        audio_requests = AudioRequests(memory, results.files)
        files = FileRoutes(results.files, uploads, audio_requests)
        intake = Intake(self.availability, predictions, self._webhooks, files, memory, options.max_audio_seconds)
        jobs = Jobs(predictions, results)
        hosted = HostedRoutes(models, predictions, intake, jobs, results.files, files, options.webhook_secret)
        sections = route("/sections", POST=Readings(memory).sections)
        others = [*files.routes(), route("/analyse", POST=audio_requests.analyse), sections, hosted.mounted()]
        metrics = None if options.metrics == "off" else self.metrics
        return Routes(self.availability, self._cog, models, predictions, intake, jobs, results.files, metrics, others)

    def _add_gauges(self, options: GatewayOptions) -> None:
        """Add the metrics that are read off the gateway's state."""
        add = self.metrics.gauge
        add("musicgen_queue_length", "Predictions that wait for their turn", lambda: self._predictions.waiting)
        add("musicgen_queue_places", "Predictions that may wait", lambda: options.places)
        add("musicgen_predictions_running", "Predictions whose turn has come", lambda: self._predictions.running)
        add("musicgen_predictions_at_once", "Predictions that may run at the same time", lambda: options.slots)
        add("musicgen_connections", "Open connections of clients", self.limits.open.total)
        add("musicgen_requests_held_bytes", "Bodies that arrive, wait or run", lambda: self._memory.held)

    def _open_results(self, options: GatewayOptions, port: int) -> Results:
        """Open the results of the service at a port; in a temporary folder where the one for them cannot be written."""
        storage = None if options.upload_url is None else ObjectStorage(options.upload_url)
        if options.results is not None:
            try:
                return Results(options.results / str(port), options.keep_seconds, storage)
            except (OSError, sqlite3.Error) as error:
                log(f"results will not survive a restart: {options.results} cannot be written ({error})")
        self._own_folder = folders.OwnFolder(PREFIX)
        return Results(self._own_folder.path, options.keep_seconds, storage)


def _middleware(options: GatewayOptions, is_local: bool) -> list[Middleware]:
    """What a request goes through before its route, the outermost first."""
    cross_origin = Middleware(
        CORSMiddleware,
        allow_origins=options.origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "Prefer", "Range"),
        expose_headers=(
            *("Content-Disposition", "Content-Range", "ETag", "Retry-After"),
            *("X-Audio-Level", "X-Prediction-Id", "X-Real-Time-Factor"),
        ),
    )
    return [
        Middleware(Framing),
        Middleware(Hosts, options.hosts, options.origins, is_local),
        *([cross_origin] if options.origins else []),
        Middleware(Access, options.keys, Rate(options.requests_per_minute), shows_metrics=options.metrics == "open"),
    ]
