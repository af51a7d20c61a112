"""A replica on a Ray cluster: Cog's server with its worker, to which the gateway sends predictions."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError

from deploy.ray_router import LOADED, RUNNING
from deploy.ray_upstream import AUDIO, LOST, REFUSED, REPLY, REPORT
from musicgen_service import settings
from musicgen_service.serving import cog_server
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.cog_client import CogClient
from musicgen_service.serving.cog_process import CogProcess, Host, folder_problem
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.upstream import UpstreamLost
from musicgen_service.settings import Settings

Message = tuple[str, Any]
"""One of the kinds in `ray_upstream`, and its content."""
_POLL_INTERVAL = 0.1
_SERVE = "serve"
"""Ray's namespace of everything that Serve starts."""
_GATEWAY_INTERVAL = 2.0
"""Seconds between two looks at whether the gateway that asked for a prediction is still there."""


class Replica:
    """Carries predictions out, as many at the same time as there are slots.

    Parameters
    ----------
    process : makes Cog's server, by the settings
    """

    async def __init__(self, process: Callable[[Settings], CogProcess]) -> None:  # type: ignore[misc]  # Serve awaits it
        given = settings.load()
        cog_server.sweep()
        self._process = process(given)
        self._audio = AudioSocket()
        self._availability = Availability(lambda: self._process.port is not None, folder_problem)
        self._cog = CogClient(
            lambda: self._process.port,
            self._availability.start_problem,
            self._audio,
            given.slots,
            lambda: self._process.worker_socket,
        )
        self._running = Counter[str]()
        variables = {"MUSICGEN_AUDIO_SOCKET": str(self._audio.path)}
        self._host = Host(self._availability, lambda: self._cog.running, variables)
        self._thread = threading.Thread(target=self._process.keep_running, args=[self._host], daemon=True)
        await self._audio.open()
        await self._cog.open()
        self._thread.start()
        try:
            while (await self._cog.health() or {"status": "STARTING"})["status"] == "STARTING":
                await self.check_health()
                await asyncio.sleep(_POLL_INTERVAL)
        except BaseException:
            await self.__del__()
            raise

    async def __del__(self) -> None:  # Serve awaits it, when the last request has ended
        self._host.stopping.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._process.stop)
        await self._cog.close()
        await self._audio.close()

    async def check_health(self) -> None:
        """Called by Serve, which replaces a replica that cannot be started."""
        if problem := self._availability.start_problem():
            raise RuntimeError(problem)

    async def record_routing_stats(self) -> dict[str, list[str]]:
        """Called by Serve, which tells the routers."""
        running = [needed for needed, count in self._running.items() if count]
        return {LOADED: sorted(await self._cog.loaded()), RUNNING: sorted(running)}

    async def predict(self, asked: Mapping[str, Any]) -> AsyncIterator[Message]:
        """Carry a prediction out; yields what happens to it. Cancelled, it ends it.

        Parameters
        ----------
        asked : attributes of the prediction, and as `gateway` the name of the actor that asks
        """
        needed = serve.get_multiplexed_model_id()
        self._running[needed] += 1
        prediction = Prediction(**{name: value for name, value in asked.items() if name != "gateway"})
        messages = asyncio.Queue[Message | None]()
        prediction.on_event = lambda _: messages.put_nowait(
            (REPORT, {"logs": prediction.logs, "metrics": prediction.metrics})
        )
        listening = asyncio.create_task(self._relay_audio(prediction, messages))
        working = asyncio.create_task(self._carry_out(prediction, listening))
        working.add_done_callback(lambda _: messages.put_nowait(None))
        watching = asyncio.create_task(_end_without(asked["gateway"], working))
        try:
            while message := await messages.get():
                yield message
            yield await working
        finally:
            self._running[needed] -= 1
            for task in (working, listening, watching):
                task.cancel()

    async def _carry_out(self, prediction: Prediction, listening: "asyncio.Task[None]") -> Message:
        try:
            reply = await self._cog.predict(prediction)
        except Refusal as refusal:
            return REFUSED, (refusal.status, str(refusal), refusal.content.get("detail"), refusal.retry_after)
        except UpstreamLost:
            return LOST, None
        prediction.on_event = lambda _: None  # all that is left to tell is in the reply, and each message takes time
        prediction.finish(reply)
        prediction.conclude()
        if prediction.recording.listeners:
            await listening
        return REPLY, reply

    async def _relay_audio(self, prediction: Prediction, messages: "asyncio.Queue[Message | None]") -> None:
        """Send the audio of a prediction as soon as somebody listens at the gateway."""
        if not prediction.is_watched:
            return
        if not prediction.is_heard:
            gateway = serve.get_deployment_handle("Gateway", serve.get_replica_context().app_name)
            while not await gateway.wanted.remote(prediction.key):
                pass
        async for message in prediction.recording.messages():
            messages.put_nowait((AUDIO, message))


async def _end_without(gateway: str, working: "asyncio.Task[Message]") -> None:
    """End the work for a gateway when that has died: Serve goes on with it, and the next gateway asks for it anew."""
    while True:
        await asyncio.sleep(_GATEWAY_INTERVAL)
        with suppress(RayError):  # the cluster's head is not reached just now
            try:
                await asyncio.to_thread(ray.get_actor, gateway, _SERVE)
            except ValueError:
                working.cancel()
                return
