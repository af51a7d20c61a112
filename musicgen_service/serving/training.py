"""One training: what its client may know of it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from musicgen_service.serving import timestamps, training_inputs
from musicgen_service.serving.tracing import Trace
from musicgen_service.serving.training_request import TrainingRequest
from musicgen_service.training import progress

_LOG_INTERVAL = 10.0
"""Seconds between two lines about a stage."""
_MAX_LOG = 65_536
"""Characters of the log that are kept, the latest ones."""


@dataclass(eq=False)
class Training:
    """A training from its request to its end.

    Attributes
    ----------
    request : what the client asks for
    base : the checkpoint to train on
    owner : the client: nobody else may see the training
    trace : which it belongs to
    base_url : address of the service, as the client knows it
    id : unguessable
    status : starting, processing, succeeded, failed or canceled
    logs : what it said, a line for each event
    progress : the stage that it is in, how much of it is done, of how much, and how many seconds are left of it
    songs : what is understood of them, once it is
    adapter : the result, as `adapters list --json` has it
    error : why it failed
    created_at, started_at, completed_at : seconds since the epoch
    is_cancelled : whether its client has asked for its end
    ended : set when its end has been kept, and clients are told
    on_event : called with each event that a webhook may be told
    """

    request: TrainingRequest
    base: str
    owner: str
    trace: Trace
    base_url: str
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    status: str = "starting"
    logs: str = ""
    progress: dict[str, Any] | None = None
    songs: dict[str, Any] | None = None
    adapter: dict[str, Any] | None = None
    error: str | None = None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    completed_at: float | None = None
    is_cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    on_event: Callable[[str], None] = lambda _: None
    _logged_at: float = 0.0

    def __post_init__(self) -> None:
        for note in training_inputs.notes(self.request.inputs):
            self._log(note)

    def start(self) -> None:
        """Note that its turn has come."""
        self.status, self.started_at = "processing", time.time()
        self.on_event("start")

    def report(self, event: Mapping[str, Any]) -> None:
        """Take a line of JSON that the command `train` has printed."""
        if "stage" in event:
            self._report_progress(event)
        elif "songs" in event:
            self.songs = dict(event)
            self._log(str(event["summary"]))
            self.on_event("logs")
        elif "adapter" in event:
            self.adapter = dict(event["adapter"])

    def _report_progress(self, event: Mapping[str, Any]) -> None:
        is_new = self.progress is None or self.progress["stage"] != event["stage"]
        self.progress = {name: event[name] for name in ("stage", "done", "total", "more", "seconds_left")}
        now = time.monotonic()
        if is_new or now - self._logged_at >= _LOG_INTERVAL or event["done"] == event["total"]:
            self._logged_at = now
            self._log(progress.line(**self.progress))
            self.on_event("logs")

    def _log(self, text: str) -> None:
        self.logs = (self.logs + text + "\n")[-_MAX_LOG:]

    def settle(self, status: str, error: str | None = None) -> None:
        """Note how it has ended, before clients are told."""
        self.status, self.error, self.completed_at = status, error, time.time()

    def conclude(self) -> None:
        """Let clients know how it has ended."""
        if self.adapter is not None or self.request.is_preview:
            self.on_event("output")
        self.ended.set()
        self.on_event("completed")

    def as_record(self) -> dict[str, Any]:
        """The training as it is kept, in JSON types."""
        times = {name: getattr(self, name) for name in ("created_at", "started_at", "completed_at")}
        return {
            "id": self.id,
            "owner": self.owner,
            "model": self.request.model.name,
            "version": self.request.model.versions[0],
            "destination": self.request.destination,
            "name": self.request.name,
            "base": self.base,
            "is_preview": self.request.is_preview,
            "input": self.request.inputs,
            **{name: getattr(self, name) for name in ("status", "logs", "progress", "songs", "adapter", "error")},
            **{name: None if at is None else timestamps.text(at) for name, at in times.items()},
        }
