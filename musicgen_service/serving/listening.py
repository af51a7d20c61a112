"""Answers to those who listen to a prediction while it is made: its audio, or events with it."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from musicgen_service.audio.encoding import FORMATS
from musicgen_service.requests.errors import RequestError
from musicgen_service.serving import json_text
from musicgen_service.serving.files import Files, absolute, response
from musicgen_service.serving.hang_ups import HungUp, unless_hung_up
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.predictions import Predictions
from musicgen_service.serving.refusals import Refusal

EVENT_STREAM = "text/event-stream"
_LEVEL = "not normalised"
"""The level of what is heard: that of the file is known only when the clip is complete."""
_LOOK_INTERVAL = 0.25
"""Seconds between two looks at a prediction's place in the queue and its progress."""
_COMMENT = b":\n\n"
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*", re.IGNORECASE | re.ASCII)
_QUIET_SECONDS = 15.0
"""Seconds without an event after which a comment is sent: proxies close connections on which nothing comes."""


class Listening(Response):
    """One who listens.

    A prediction that was asked for to be heard is cancelled when its last listener hangs up.

    Parameters
    ----------
    prediction : what is listened to
    predictions : all of them
    """

    def __init__(self, prediction: Prediction, predictions: Predictions) -> None:
        self._prediction = prediction
        self._recording = prediction.recording
        self._predictions = predictions
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until everything has been sent, or the client hangs up."""
        self._recording.join()
        try:
            with suppress(HungUp):
                await unless_hung_up(receive, self._answer(scope, receive, send))
        finally:
            self._recording.leave()
            is_alone = self._prediction.is_heard and not self._recording.listeners
            if is_alone and not self._recording.has_all and not self._prediction.ended.is_set():
                await self._predictions.cancel(self._prediction)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    @property
    def _has_ended(self) -> bool:
        """Whether the prediction has ended, and no audio is on its way."""
        return self._prediction.ended.is_set() and not self._recording.is_live

    async def _start(self, send: Send, media_type: str, headers: Mapping[str, str], status: int = 200) -> None:
        headers = {
            "Content-Type": media_type,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Prediction-Id": self._prediction.id,
        } | dict(headers)
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})


class AudioAnswer(Listening):
    """The audio alone; its status is known when its first bytes are, or the prediction has failed.

    Parameters
    ----------
    prediction, predictions : see `Listening`
    files : of finished predictions
    """

    def __init__(self, prediction: Prediction, predictions: Predictions, files: Files) -> None:
        super().__init__(prediction, predictions)
        self._files = files

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        recording = self._recording
        while not (recording.size or recording.refusal or self._has_ended):
            await recording.changed()
        if not recording.size:
            await self._instead()(scope, receive, send)
            return
        assert recording.sound is not None
        whole = recording.sound["bytes"]
        has_parts = whole is not None and scope["method"] != "POST"
        part_asked_for = _range(Headers(scope=scope), whole) if has_parts else None
        position, end = part_asked_for or (0, whole)
        if part_asked_for is not None and position >= end:
            refusal = Refusal(416, f"Range must begin within the {whole} bytes of the audio.").response()
            refusal.headers["Content-Range"] = f"bytes */{whole}"
            await refusal(scope, receive, send)
            return
        headers = _audio_headers(recording.sound)
        if part_asked_for is not None:
            headers |= {"Content-Length": str(end - position), "Content-Range": f"bytes {position}-{end - 1}/{whole}"}
        await self._start(send, recording.sound["media_type"], headers, 200 if part_asked_for is None else 206)
        while scope["method"] != "HEAD" and position != end:
            if part := recording.read(position, end):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                position += len(part)
            elif recording.is_complete:
                break
            elif self._has_ended:
                return  # before the end of the response, which tells the client that something is missing
            else:
                await recording.changed()
        await send({"type": "http.response.body", "body": b""})

    def _instead(self) -> Response:
        """The answer where there is nothing to hear."""
        prediction = self._prediction
        if prediction.refusal is not None:
            return prediction.refusal.response()
        if not prediction.ended.is_set():
            return Refusal(409, f"{self._recording.refusal} Its file will be here when it has ended.").response()
        return finished_audio(prediction.as_job(), self._files)


class EventsAnswer(Listening):
    """Server-sent events: `queue`, `progress`, `format`, `audio`, and at last `completed` or `error`.

    Parameters
    ----------
    prediction, predictions : see `Listening`
    base_url : address of the service, as the client knows it
    """

    def __init__(self, prediction: Prediction, predictions: Predictions, base_url: str) -> None:
        super().__init__(prediction, predictions)
        self._base_url = base_url

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._start(send, EVENT_STREAM, {})
        if scope["method"] != "HEAD":
            async for event in self._events():
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncIterator[bytes]:
        recording, position, spoke_at = self._recording, 0, time.monotonic()
        told: dict[str, Any] = {}
        while True:
            has_ended = self._has_ended  # before the last look at what there is
            for name, content in self._news(told).items():
                yield _event(name, content)
                spoke_at = time.monotonic()
            # One by one: all that there is may be much, and many may come late.
            while part := recording.read(position):
                position += len(part)
                yield _event("audio", {"base64": base64.b64encode(part).decode()})
                spoke_at = time.monotonic()
            if has_ended:
                yield _last_event(self._prediction.as_job(), self._base_url)
                return
            if time.monotonic() - spoke_at > _QUIET_SECONDS:
                yield _COMMENT
                spoke_at = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_INTERVAL):
                    await recording.changed()

    def _news(self, told: dict[str, Any]) -> dict[str, Any]:
        """What has changed, by the name of its event; `told` is what the client knows."""
        sound, progress = self._recording.sound, self._prediction.progress
        state = {
            "queue": self._predictions.queue_of(self._prediction),
            "progress": {"progress": progress} if progress else None,
            "format": None if sound is None else _format(sound),
        }
        if self._recording.refusal is not None:
            state["format"] = {"refusal": self._recording.refusal}
        news = {name: content for name, content in state.items() if content is not None and told.get(name) != content}
        told |= news
        return news


class FinishedEvents(Response):
    """Server-sent events of a prediction that has ended: the last one.

    Parameters
    ----------
    job : the prediction, with addresses relative to the service's
    base_url : address of the service, as the client knows it
    """

    def __init__(self, job: Mapping[str, Any], base_url: str) -> None:
        headers = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store"}
        super().__init__(_last_event(job, base_url), headers=headers)


def finished_audio(job: Mapping[str, Any], files: Files) -> Response:
    """The answer with the audio of a prediction that has ended: its first file, or why there is none.

    Parameters
    ----------
    job : the prediction, with addresses relative to the service's
    files : of finished predictions
    """
    if job["status"] == "succeeded":
        output = job["output"]
        addresses = output if isinstance(output, list) else output.values() if isinstance(output, dict) else [output]
        for address in filter(None, addresses):
            file = files.at(address)
            if file is not None and file.suffix.removeprefix(".") in FORMATS:
                return response(file)
            # Where the operator keeps files elsewhere. Whoever has posted a request is to get the file all the same.
            if address.startswith(("http://", "https://")) and urlsplit(address).path.rpartition(".")[2] in FORMATS:
                return RedirectResponse(address, 303)
        return Refusal(404, "There is no audio of this prediction, or it was made too long ago.").response()
    if job["status"] == "canceled":
        return Refusal(409, "The prediction was cancelled.").response()
    is_invalid = f": {RequestError.__qualname__}: " in str(job["error"])
    return Refusal(422 if is_invalid else 502, str(job["error"])).response()


def _format(sound: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sound.items() if name != "bytes"} | {"level": _LEVEL}


def _audio_headers(sound: Mapping[str, Any]) -> dict[str, str]:
    headers = {"X-Audio-Level": _LEVEL, "X-Audio-Seconds": f"{sound['seconds']:g}"}
    if sound["real_time_factor"] is not None:
        headers["X-Real-Time-Factor"] = f"{sound['real_time_factor']:g}"
    if sound["bytes"] is not None:
        headers |= {"Content-Length": str(sound["bytes"]), "Accept-Ranges": "bytes"}
    return headers


def _range(headers: Headers, whole: int) -> tuple[int, int] | None:
    """The part of audio of known size that a client asks for, as some browsers do before they play any.

    Returns
    -------
    Its first byte and the one after its last; None where all is asked for, or more than one part
    """
    found = _RANGE.fullmatch(headers.get("range", ""))
    # Nothing has a tag here that `If-Range` could name.
    if found is None or "if-range" in headers or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, whole - int(found[2])), whole
    start, end = int(found[1]), min(int(found[2] or whole), whole - 1) + 1
    return (start, end) if start < end or start >= whole else None


def _event(name: str, content: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json_text.encode(content))


def _last_event(job: Mapping[str, Any], base_url: str) -> bytes:
    name = "error" if job["status"] == "failed" else "completed"
    return _event(name, {**job, "output": absolute(job["output"], base_url)})
