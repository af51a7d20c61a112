"""What the gateway makes of a replica's replies, without a cluster."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest

from deploy import ray_upstream
from deploy.ray_upstream import REPLY, REPORT, RayUpstream
from musicgen_service.serving.models import Model
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.upstream import UpstreamLost

pytestmark = pytest.mark.ray

REPORTED, REPLIED = (REPORT, {"logs": "", "metrics": {}}), (REPLY, {"status": "succeeded"})


class Response:
    """A response of Serve with these messages, in which an exception is raised."""

    def __init__(self, *messages: Any) -> None:
        self._messages = messages
        self.cancel = Mock()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self._messages:
            if isinstance(message, BaseException):
                raise message
            await asyncio.sleep(0)
            yield message


def predict(*responses: Response) -> dict[str, Any]:
    replicas = Mock()
    replicas.options.return_value = replicas
    replicas.predict.remote.side_effect = responses

    async def ask() -> dict[str, Any]:
        upstream = RayUpstream(replicas, 1, Mock(), Mock(), Mock())
        return await upstream.predict(Prediction(PredictionRequest("a", {}, None, (), Model("")), "somebody"))

    try:
        return asyncio.run(ask())
    finally:
        assert all(response.cancel.called for response in responses)


def test_what_serve_cancels_by_itself_is_asked_for_again() -> None:
    assert predict(Response(asyncio.CancelledError()), Response(REPORTED, REPLIED)) == {"status": "succeeded"}


def test_what_had_begun_is_lost_then() -> None:
    with pytest.raises(UpstreamLost):
        predict(Response(REPORTED, asyncio.CancelledError()))


def test_replicas_are_counted_again_whatever_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas, grown, serve = Mock(), asyncio.Event(), Mock()
    replicas.options.return_value.deployment_name = "Replica"
    serve.get_replica_context.return_value.app_name = "musicgen"
    found = Mock(deployments={"Replica": Mock(replica_states={"RUNNING": 2, "STARTING": 1})})
    # While the application is deployed anew, it is not there.
    serve.status.side_effect = [Mock(applications={}), ConnectionError, *[Mock(applications={"musicgen": found})] * 9]
    monkeypatch.setattr(ray_upstream, "serve", serve)
    monkeypatch.setattr(ray_upstream, "ray", Mock())
    monkeypatch.setattr(ray_upstream, "_COUNT_INTERVAL", 0)

    async def count() -> None:
        upstream = RayUpstream(replicas, 1, Mock(), Mock(), grown.set)
        await upstream.open()
        await asyncio.wait_for(grown.wait(), 30)
        await upstream.close()
        assert (await upstream.health() or {})["replicas"] == 2

    asyncio.run(count())


def test_what_the_gateway_cancels_ends() -> None:
    async def ask_and_cancel() -> None:
        replicas = Mock()
        replicas.options.return_value = replicas
        replicas.predict.remote.return_value = Response(*[REPORTED] * 100, REPLIED)
        upstream = RayUpstream(replicas, 1, Mock(), Mock(), Mock())
        prediction = Prediction(PredictionRequest("a", {}, None, (), Model("")), "somebody")
        task = asyncio.create_task(upstream.predict(prediction))
        while prediction.status == "starting":
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.running == 0

    asyncio.run(ask_and_cancel())
