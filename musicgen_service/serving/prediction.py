"""One prediction: what its client may know of it."""

import asyncio
import copy
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from musicgen_service.serving import timestamps
from musicgen_service.serving.files import Saved, absolute
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.recording import Recording
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.tracing import Trace

ENDED = ("succeeded", "failed", "canceled")
_NOT_KEPT = "The files of this prediction could not be kept: there was no room for them."
_PERCENT = re.compile(r"^(\d{1,3}) %$", re.MULTILINE)
_PREFIXES = re.compile(r"Prediction failed: (?:Async p|P)rediction failed: ")
"""Cog's worker and its server both add a prefix to an error."""


@dataclass(frozen=True)
class Ending:
    """How a prediction has ended.

    Attributes
    ----------
    status : one of those in `ENDED`
    output, error : as Cog reports them
    refusal : why there is no result, where Cog gave none
    completed_at : seconds since the epoch
    """

    status: str
    output: Any = None
    error: str | None = None
    refusal: Refusal | None = None
    completed_at: float = field(default_factory=time.time)


@dataclass(eq=False)
class Prediction:
    """A prediction from its request to its end.

    Nobody is told of its end before that has been kept: a client that knows of a result finds it again after a restart.

    Attributes
    ----------
    request : what the client asks for; its inputs are given up when it has ended
    owner : the client: nobody else may see the prediction
    trace : which it belongs to
    key : its id at Cog's server, unguessable and used only once
    status : starting, processing, succeeded, failed or canceled
    logs, metrics, output, error : as Cog reports them
    refusal : why there is no result, where Cog gave none
    created_at, started_at, completed_at : seconds since the epoch
    noted : set when it would be known after a restart that it was asked for
    ending : how it has ended, from the moment that this is settled
    settled : set at that moment
    ended : set when its end has been kept, and clients are told
    saved : its files, where they have been saved
    is_watched : whether somebody may ask for its log and progress before it has ended
    base_url : address of the service, where the client asks for addresses in the place of data URIs
    audio_seconds : how much audio the client asks for
    is_cancelled : whether its client has asked for its end
    is_heard : whether it goes on only as long as somebody listens
    is_detached : whether it goes on when its client hangs up, and when the service starts again
    attempts : how often a service has died in it
    recording : its audio, as far as it has been made
    hosted : what only clients of the hosted platform are told, or None
    on_event : called with each event that a webhook may be told, of those in `prediction_request.EVENTS`
    """

    request: PredictionRequest
    owner: str
    trace: Trace = field(default_factory=Trace)
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    status: str = "starting"
    logs: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str | None = None
    refusal: Refusal | None = None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    completed_at: float | None = None
    noted: asyncio.Event = field(default_factory=asyncio.Event)
    ending: Ending | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    saved: Saved | None = None
    is_watched: bool = True
    base_url: str | None = None
    audio_seconds: float = 0.0
    is_cancelled: bool = False
    is_heard: bool = False
    is_detached: bool = False
    attempts: int = 0
    recording: Recording = field(default_factory=Recording)
    hosted: dict[str, Any] | None = None
    on_event: Callable[[str], None] = lambda _: None

    @property
    def id(self) -> str:
        """The client's own name for it, or else ours."""
        return self.request.id or self.key

    @property
    def seconds(self) -> float:
        """How long Cog has carried it out, in seconds."""
        return (self.completed_at or time.time()) - (self.started_at or self.created_at)

    @property
    def unused_audio_seconds(self) -> float:
        """How much less audio than was counted it turned out to ask for: all, where it never started."""
        if self.started_at is None:
            return self.audio_seconds
        return max(0.0, self.audio_seconds - self.metrics.get("audio_seconds", self.audio_seconds))

    @property
    def progress(self) -> float:
        """How much of it is done, 0 to 1, as far as its log says."""
        if self.status == "succeeded":
            return 1.0
        found = _PERCENT.findall(self.logs)
        return min(int(found[-1]), 100) / 100 if found else 0.0

    def report(self, event: Mapping[str, Any]) -> None:
        """Take the log and metrics from an event of Cog, the first of which says that it has started."""
        if self.status == "starting":
            self.status, self.started_at = "processing", time.time()
            self.on_event("start")
        self.metrics = dict(event.get("metrics") or {})
        logs = str(event.get("logs") or "")
        if logs != self.logs:
            self.logs = logs
            self.on_event("logs")

    def finish(self, reply: Mapping[str, Any]) -> None:
        """Take the result from Cog's reply."""
        self.report({"metrics": reply.get("metrics"), "logs": reply.get("logs") or self.logs})
        error = reply.get("error")
        if error is not None:
            error = _PREFIXES.sub("Prediction failed: ", str(error), count=1)
        self._settle(Ending(str(reply.get("status", "failed")), reply.get("output"), error))

    def cancel(self) -> None:
        """Note that it has ended because its client cancelled it."""
        self._settle(Ending("canceled"))

    def fail(self, refusal: Refusal) -> None:
        """Note that it has ended without a result of Cog."""
        self._settle(Ending("failed", error=str(refusal), refusal=refusal))

    def _settle(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.settled.set()

    def conclude(self) -> None:
        """Let clients know how it has ended."""
        assert self.ending is not None
        if self.ending.output is not None:
            self.output = self.ending.output
            self.on_event("output")
        self._take_ending()
        self.ended.set()
        self.recording.end()
        self.on_event("completed")

    def give_up_inputs(self) -> None:
        """Forget its inputs: whoever still tells of its end does not need them."""
        self.request = replace(self.request, inputs={})

    def _take_ending(self) -> None:
        assert self.ending is not None
        for attribute, value in vars(self.ending).items():
            setattr(self, attribute, value)

    def as_cog(self) -> dict[str, Any]:
        """The prediction in the form of Cog's replies and webhooks."""
        shown: dict[str, Any] = {"id": self.id, "logs": self.logs, "metrics": self.metrics, "status": self.status}
        if self.output is not None:
            shown["output"] = self.output
            if self.saved is not None and self.base_url is not None:
                shown["output"] = absolute(self.saved.output, self.base_url)
        if self.error is not None:
            shown["error"] = self.error
        return shown

    def as_job(self) -> dict[str, Any]:
        """The prediction as its client polls it, with addresses relative to the service's."""
        times = {name: getattr(self, name) for name in ("created_at", "started_at", "completed_at")}
        return {
            **self.as_cog(),
            "output": self.saved.output if self.saved and self.output is not None else None,
            "error": _NOT_KEPT if self.output is not None and self.saved is None else self.error,
            "progress": self.progress,
            **{name: None if at is None else timestamps.text(at) for name, at in times.items()},
        }

    def as_hosted(self) -> dict[str, Any]:
        """The prediction as it is polled, with what only clients of the hosted platform are told."""
        return self.as_job() | ({} if self.hosted is None else {"hosted": self.hosted})

    def as_kept(self) -> dict[str, Any]:
        """The prediction as it is kept: as its clients will be told that it has ended."""
        ended = copy.copy(self)
        ended._take_ending()
        return ended.as_hosted()
