"""The replicas on a Ray cluster, as the gateway sees them."""

import asyncio
import math
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deploy.ray_models import IN_MEMORY, NeededModels
from musicgen_service.inputs import served_files
from musicgen_service.serving.audio_socket import AudioSocket
from musicgen_service.serving.files import Files, data_uri
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.upstream import UpstreamLost

REPORT, AUDIO, REFUSED, LOST, REPLY = "report", "audio", "refused", "lost", "reply"
"""What a replica sends: events of Cog, messages of an `AudioChannel`, and at last one of the others."""
_COUNT_INTERVAL = 1.0
"""Seconds between two looks at how many replicas there are."""
_AT_WORK = ("RUNNING", "UPDATING", "PENDING_MIGRATION")
"""States of replicas that carry requests out."""
_LISTENER_WAIT = 2.0
"""Seconds for which a replica is let wait for a listener before it asks again."""
_PATIENCE = 60.0
"""Seconds without a replica after which no more predictions are taken on; one that has died is soon replaced."""


class RayUpstream:
    """Sends predictions to the replicas of a deployment: an `Upstream`.

    Parameters
    ----------
    replicas : the deployment
    slots : number of predictions that one replica carries out at the same time
    audio : takes the audio of predictions while it is made
    files : those that have addresses of the service
    grown : called when there are more replicas
    """

    def __init__(
        self, replicas: DeploymentHandle, slots: int, audio: AudioSocket, files: Files, grown: Callable[[], None]
    ) -> None:
        self._replicas = replicas.options(stream=True)
        self._slots = slots
        self._audio = audio
        self._files = files
        self._grown = grown
        self._count = 0
        self._counted_at = -math.inf
        self._sent: dict[str, Prediction] = {}
        self._models = NeededModels()
        self._name = ""

    @property
    def slots(self) -> int:
        """One replica's worth more than there are: Serve starts replicas because of requests that wait for one."""
        return (self._count + 1) * self._slots

    @property
    def running(self) -> int:
        """Number of predictions that were given to replicas."""
        return len(self._sent)

    def is_reachable(self) -> bool:
        """Whether there is a replica, or there was one a moment ago."""
        return time.monotonic() - self._counted_at < _PATIENCE

    async def open(self) -> None:
        """Start to count the replicas."""
        self._name = ray.get_runtime_context().get_actor_name()
        self._counting = asyncio.create_task(self._count_regularly())

    async def close(self) -> None:
        """Stop to count them."""
        self._counting.cancel()

    async def health(self) -> dict[str, Any] | None:
        """Whether all slots are in use, and how many replicas there are."""
        is_busy = self.running >= self._count * self._slots
        return {"status": "BUSY" if is_busy else "READY", "replicas": self._count} if self._count else None

    async def loaded(self) -> set[str]:
        """Labels of the models that replicas have in memory."""
        return set(IN_MEMORY.labels)

    async def cancel(self, prediction: Prediction) -> bool:
        """Leave it to `predict`, which is cancelled then."""
        return False

    async def predict(self, prediction: Prediction) -> dict[str, Any]:
        """Have a replica carry a prediction out, which `ray_router` chooses; returns Cog's reply.

        Raises
        ------
        UpstreamLost
            When the replica died.
        Refusal
            When the replica refuses it.
        """
        asked = await asyncio.to_thread(self._asked, prediction)
        model = str(self._models.of(prediction.request))
        self._sent[prediction.key] = prediction
        try:
            while True:
                try:
                    return await self._ask(prediction, asked, model)
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    # Now and then Serve cancels by itself what a full replica has refused.
                    if prediction.status != "starting":
                        raise UpstreamLost from None
        finally:
            del self._sent[prediction.key]

    async def _ask(self, prediction: Prediction, asked: dict[str, Any], model: str) -> dict[str, Any]:
        """Send it to a replica, and take what that sends; see `predict`."""
        response = self._replicas.options(multiplexed_model_id=model).predict.remote(asked)
        is_kept = True
        try:
            async for kind, content in response:
                if kind == REPORT:
                    prediction.report(content)
                elif kind == AUDIO:
                    is_kept = is_kept and self._audio.take(prediction, content)
                elif kind == REFUSED:
                    raise Refusal(*content)
                elif kind == REPLY:
                    self._models.learn(prediction.request, content.get("metrics") or {})
                    return dict(content)
        except RayTaskError:
            raise  # a fault of our own
        except (RayError, RayServeException):
            pass
        finally:
            response.cancel()
        raise UpstreamLost

    async def wanted(self, key: str) -> bool:
        """Whether somebody listens to a prediction; waits for it some seconds only, as a gateway may be replaced."""
        prediction = self._sent.get(key)
        if prediction is None:  # another gateway had it
            await asyncio.sleep(_LISTENER_WAIT)
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(prediction.recording.wanted(), _LISTENER_WAIT)
            return True
        return False

    def _asked(self, prediction: Prediction) -> dict[str, Any]:
        """What the replica, which reads no files of the gateway, needs for the prediction; see `Replica.predict`."""
        request = prediction.request
        inputs = {name: self._content(value) for name, value in request.inputs.items()}
        return {
            "request": replace(request, inputs=inputs, model=replace(request.model, schema=None, checks=None)),
            "gateway": self._name,
            **{name: getattr(prediction, name) for name in ("owner", "trace", "key", "is_watched", "is_heard")},
        }

    def _content(self, value: Any) -> Any:
        """The value of an input, with the content of a file in the place of its address at the service."""
        if isinstance(value, str) and served_files.split(value) and (file := self._files.at_url(value)):
            return data_uri(file)
        return value

    async def _count_once(self, application: str) -> None:
        deployments = (await asyncio.to_thread(serve.status)).applications[application].deployments
        states = deployments[self._replicas.deployment_name].replica_states
        before, self._count = self._count, sum(states.get(state, 0) for state in _AT_WORK)
        if self._count:
            self._counted_at = time.monotonic()
        if self._count > before:
            self._grown()

    async def _count_regularly(self) -> None:
        context = serve.get_replica_context()
        while True:
            try:
                await self._count_once(context.app_name)
            except (RayError, RayServeException):
                pass  # the controller is being started again
            except Exception:  # whatever it is, replicas are counted again: without that none is ever found
                traceback.print_exc()
            await asyncio.sleep(_COUNT_INTERVAL)
