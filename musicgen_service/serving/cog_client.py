"""Sends predictions to Cog's server on this machine, and receives its events."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from musicgen_service.serving import http_server, json_text, worker_socket
from musicgen_service.serving.any_system import SYSTEM
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.upstream import UpstreamLost

_MIN_WAIT, _MAX_WAIT = 0.02, 0.5
"""Seconds before Cog is asked again after it has refused a prediction: its slot is free a moment after the reply."""
_ACCEPTED_AFTER = 0.25
"""Seconds without a reply after which Cog is carrying a prediction out; it refuses one at once."""
_CANCEL_AGAIN = 0.5
"""Seconds after which a prediction that goes on is cancelled again: Cog answers 200 to a cancel that comes before it
has begun the prediction, and forgets it."""
_CANCELLED = "CancelationException"
"""Part of the error of a prediction that was cancelled while Cog began it."""
_HEALTH_TIMEOUT = 15.0
_MAX_EVENT = 2**20
"""Maximum bytes of an event. Those that are larger have outputs, which come with the reply."""
_LOGS_TIMEOUT = 1.0
"""Seconds for the log of a prediction that has failed to arrive: Cog's reply has none."""
_BUSY, _UNAVAILABLE = 409, 503
_CRASHED = "Worker crashed"
"""The error of the predictions that a worker was carrying out when it died."""
_NO_WORKER = "Failed to send request"
"""The beginning of the error of predictions that come after its death, until Cog is started again."""


class CogClient:
    """Cog's server: an `Upstream`.

    Parameters
    ----------
    port : returns the port of Cog's server on this machine, or None while it is not reachable
    problem : returns why Cog's server cannot be started, as a sentence, or None
    audio : receives the audio of predictions while it is made
    slots : number of predictions that it carries out at the same time
    socket : returns where its worker answers questions, or None while there is none
    """

    def __init__(
        self,
        port: Callable[[], int | None],
        problem: Callable[[], str | None],
        audio: AudioSocket,
        slots: int,
        socket: Callable[[], Path | None],
    ) -> None:
        self.slots = slots
        self._worker_socket = socket
        self._port = port
        self._problem = problem
        self._audio = audio
        self._sent: dict[Prediction, float] = {}
        self._cancels: dict[Prediction, asyncio.Task[None]] = {}
        self._events = _Events()
        # A new connection for each request: the server may close an idle one at the moment of its next use, which
        # could not be told from a crash. On the loopback interface it takes no time.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(limits=limits, timeout=None, trust_env=False, verify=False)

    @property
    def running(self) -> int:
        """Number of predictions that Cog's server is carrying out; may be read by any thread."""
        started_before = time.monotonic() - _ACCEPTED_AFTER
        return sum(started < started_before for started in list(self._sent.values()))

    def is_reachable(self) -> bool:
        """Whether the server answers."""
        return self._port() is not None

    async def open(self) -> None:
        """Start to listen for Cog's events."""
        await self._events.open()

    async def close(self) -> None:
        """Close every connection."""
        for task in self._cancels.values():
            task.cancel()
        await self._events.close()
        await self._http.aclose()

    async def predict(self, prediction: Prediction) -> dict[str, Any]:
        """Have a prediction carried out; returns Cog's reply.

        Raises
        ------
        UpstreamLost
            When the server or its worker died.
        Refusal
            When the server cannot be started, or refuses the prediction.
        """
        asked = _request_of(prediction)
        context = asked["context"] | prediction.trace.headers
        body: dict[str, Any] = {"id": prediction.key, "input": asked["input"], "context": context}
        if prediction.is_watched:  # which costs Cog a millisecond
            events = ["start", "logs", "completed"]
            body |= {"webhook": self._events.expect(prediction), "webhook_events_filter": events}
            context |= self._audio.expect(prediction)
        else:
            prediction.report({})
        content = json_text.encode(body)
        try:
            status, reply = await self._post(prediction, content)
            if status != 200:
                # Only a request that our own checks let through by mistake gets here.
                sentence = str(reply.get("error") or "The service does not accept this request.")
                raise Refusal(status, sentence, reply.get("detail"))
            if reply.get("error") == _CRASHED:
                raise UpstreamLost
            if prediction.is_cancelled and _CANCELLED in str(reply.get("error")):
                reply |= {"status": "canceled", "error": None}
            if reply.get("status") != "succeeded" and prediction.is_watched:
                await self._events.wait(prediction, _LOGS_TIMEOUT)
        finally:
            self._events.forget(prediction)
            self._audio.forget(prediction)
        if prediction.request.model.system is not None and reply.get("output") is not None:
            [reply["output"]] = reply["output"]
        return reply

    async def cancel(self, prediction: Prediction) -> bool:
        """Cancel a prediction that was sent; returns whether Cog has it, and will reply to it."""
        while prediction in self._sent and self._port() is not None:
            if await self._cancel_once(prediction):
                if prediction not in self._cancels:
                    task = self._cancels[prediction] = asyncio.create_task(self._cancel_until_ended(prediction))
                    task.add_done_callback(lambda _: self._cancels.pop(prediction))
                return True
            await asyncio.sleep(_MIN_WAIT)  # it has been sent, but not arrived
        return False

    async def _cancel_once(self, prediction: Prediction) -> bool:
        """Send a cancel; returns whether Cog has the prediction."""
        if (port := self._port()) is not None:
            with suppress(httpx2.TransportError):
                address = f"http://127.0.0.1:{port}/predictions/{prediction.key}/cancel"
                return (await self._http.post(address, timeout=_HEALTH_TIMEOUT)).status_code != 404
        return False

    async def _cancel_until_ended(self, prediction: Prediction) -> None:
        while True:
            await asyncio.sleep(_CANCEL_AGAIN)
            if prediction not in self._sent:
                return
            await self._cancel_once(prediction)

    async def loaded(self) -> set[str]:
        """Labels of the models in its worker's memory; see `models.musicgen.MusicGenModel`."""
        return set(json_text.decode(await worker_socket.ask(self._worker_socket(), worker_socket.MODELS) or b"[]"))

    async def health(self) -> dict[str, Any] | None:
        """The content of Cog's health check; None when there is no answer."""
        if (port := self._port()) is None:
            return None
        with suppress(httpx2.TransportError, ValueError):
            reply = await self._http.get(f"http://127.0.0.1:{port}/health-check", timeout=_HEALTH_TIMEOUT)
            return _object(reply)
        return None

    async def _post(self, prediction: Prediction, content: bytes) -> tuple[int, dict[str, Any]]:
        """Send a prediction until it is accepted; returns the status and content of Cog's reply to it."""
        wait = _MIN_WAIT
        while True:
            if problem := self._problem():
                raise Refusal(503, problem)
            if (port := self._port()) is not None:
                self._sent[prediction] = time.monotonic()
                try:
                    response = await self._http.post(
                        f"http://127.0.0.1:{port}/predictions",
                        content=content,
                        headers={"Content-Type": "application/json", **prediction.trace.headers},
                    )
                    reply = _object(response)
                    is_lost = str(reply.get("error")).startswith(_NO_WORKER)
                    if response.status_code not in (_BUSY, _UNAVAILABLE) and not is_lost:
                        return response.status_code, reply
                except httpx2.ConnectError:
                    pass  # it is being started again
                except httpx2.TransportError:
                    raise UpstreamLost from None
                finally:
                    del self._sent[prediction]
            await asyncio.sleep(wait)
            wait = min(2 * wait, _MAX_WAIT)


class _Events:
    """Listens for the events of predictions that Cog is carrying out.

    Cog sends them as webhooks. They come to a port on the loopback interface, at an address that only Cog is given.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_urlsafe(32)
        self._expected: dict[str, tuple[Prediction, asyncio.Event]] = {}

    async def open(self) -> None:
        """Start to listen."""
        listener = http_server.listen("127.0.0.1", 0)
        self._address = f"http://127.0.0.1:{listener.getsockname()[1]}/{self._secret}"
        app = Starlette(routes=[Route("/{secret}/{key}", self._receive, methods=["POST"])])
        self._server = http_server.server(app)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def close(self) -> None:
        """Stop to listen."""
        self._server.should_exit = True
        await self._task

    def expect(self, prediction: Prediction) -> str:
        """Accept the events of a prediction; returns the address that they go to."""
        self._expected[prediction.key] = prediction, asyncio.Event()
        return f"{self._address}/{prediction.key}"

    def forget(self, prediction: Prediction) -> None:
        """Accept no more of its events."""
        self._expected.pop(prediction.key, None)

    async def wait(self, prediction: Prediction, seconds: float) -> None:
        """Wait for the last event of a prediction."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._expected[prediction.key][1].wait(), seconds)

    async def _receive(self, request: Request) -> Response:
        if not secrets.compare_digest(request.path_params["secret"].encode(), self._secret.encode()):
            return Response(status_code=404)
        # The last event of a prediction may come after the reply to it; refused, it would be sent again.
        expected = self._expected.get(request.path_params["key"])
        if expected and int(request.headers.get("content-length", 0)) <= _MAX_EVENT:
            prediction, completed = expected
            event = json_text.decode(await request.body())
            prediction.report(event)
            if event["status"] != "processing":
                completed.set()
        return Response()


def _request_of(prediction: Prediction) -> dict[str, Any]:
    """What Cog is asked to carry out."""
    inputs, system = prediction.request.inputs, prediction.request.model.system
    if system is None:
        return {"input": inputs, "context": {}}
    return {"input": {"prompt": json_text.encode(inputs).decode()}, "context": {SYSTEM: system}}


def _object(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in a response; an empty one when there is none."""
    try:
        content = json_text.decode(response.content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
