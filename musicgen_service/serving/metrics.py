"""What the service counts, in Prometheus's text format."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from musicgen_service import __version__
from musicgen_service.requests.tasks import TASKS
from musicgen_service.serving import worker_socket
from musicgen_service.serving.prediction import Prediction

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
_FIRST_AUDIO_SECONDS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 5, 10, 30)

# The time at which a series began would be a second one for each.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one gateway, and of the worker behind it.

    Parameters
    ----------
    socket : returns where the worker tells its own metrics (see `worker_metrics`), or None

    Attributes
    ----------
    requests : HTTP requests by method, path (as a template) and status
    predictions : those that have ended, by task and outcome
    queue_wait_seconds, prediction_seconds, first_audio_seconds : histograms
    worker_restarts : how often Cog's server has been started again
    """

    def __init__(self, socket: Callable[[], Path | None]) -> None:
        self._worker_socket = socket
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("musicgen_build", "The version of the service", registry=registry).info({"version": __version__})
        self.requests = Counter(
            "musicgen_http_requests", "HTTP requests", ["method", "path", "status"], registry=registry
        )
        self.predictions = Counter(
            "musicgen_predictions", "Predictions that have ended", ["task", "outcome"], registry=registry
        )
        self.queue_wait_seconds = Histogram(
            "musicgen_queue_wait_seconds",
            "Time that predictions waited for their turn",
            registry=registry,
            buckets=_SECONDS,
        )
        self.prediction_seconds = Histogram(
            "musicgen_prediction_seconds", "Time that predictions ran", ["task"], registry=registry, buckets=_SECONDS
        )
        self.first_audio_seconds = Histogram(
            "musicgen_first_audio_seconds",
            "Time from the start of a prediction to the first audio of its stream",
            registry=registry,
            buckets=_FIRST_AUDIO_SECONDS,
        )
        self.worker_restarts = Counter(
            "musicgen_worker_restarts", "Starts of the worker but for the first", registry=registry
        )

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for whenever the metrics are."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def ended(self, prediction: Prediction) -> None:
        """Count a prediction that has ended."""
        task = _task(prediction)
        self.predictions.labels(task, prediction.status).inc()
        if prediction.started_at is not None:
            self.prediction_seconds.labels(task).observe(prediction.seconds)
            # Of others, audio begins when somebody comes to listen.
            if prediction.is_heard and (first_at := prediction.recording.first_at) is not None:
                self.first_audio_seconds.observe(first_at - prediction.started_at)

    async def text(self) -> bytes:
        """All metrics; those of the worker are missing while there is none."""
        return generate_latest(self._registry) + await worker_socket.ask(self._worker_socket(), worker_socket.METRICS)


def _task(prediction: Prediction) -> str:
    """The task of a prediction as the worker has reported it, or else as its client asks for it."""
    named = (prediction.metrics.get("task"), prediction.request.inputs.get("task"))
    return next((name for name in named if isinstance(name, str) and name in TASKS), "unknown")
