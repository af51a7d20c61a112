"""The routes under `/v1`: those of the hosted platform that its clients call."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from musicgen_service.serving import clients, hosted_replies, refusals
from musicgen_service.serving.bodies import BodyMemory
from musicgen_service.serving.file_routes import FileRoutes
from musicgen_service.serving.files import Files
from musicgen_service.serving.held_reply import HeldReply
from musicgen_service.serving.intake import Intake
from musicgen_service.serving.jobs import Jobs
from musicgen_service.serving.models import Model, Models
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.routing import base_url, prediction_id, preferences, route

_MAX_WAIT = 55.0
"""Maximum seconds for which a reply waits for the end of a prediction: clients hang up after 60."""
_CANCEL_WAIT = 5.0
"""Maximum seconds for which the reply to a cancel waits for its effect."""


class HostedRoutes:
    """Handles requests of the hosted platform's clients.

    Parameters
    ----------
    models : what is served
    intake : takes predictions on
    memory : counts replies with files in them
    jobs : what clients may see of theirs
    files : of results
    file_routes : the routes of uploads
    trainings : the routes of trainings
    webhook_secret : what webhooks are signed with, or None
    """

    def __init__(
        self,
        models: Models,
        intake: Intake,
        memory: BodyMemory,
        jobs: Jobs,
        files: Files,
        file_routes: FileRoutes,
        trainings: Sequence[Route],
        webhook_secret: str | None,
    ) -> None:
        self._models = models
        self._intake = intake
        self._memory = memory
        self._jobs = jobs
        self._files = files
        self._file_routes = file_routes
        self._trainings = trainings
        self._webhook_secret = webhook_secret

    def mounted(self) -> Mount:
        """The routes, with errors in the platform's form."""
        routes = [
            route("/predictions", GET=self._list, POST=self._predict_version),
            route("/predictions/{id}", GET=self._prediction),
            route("/predictions/{id}/cancel", POST=self._cancel),
            route("/models", GET=self._all_models),
            route("/models/{owner}/{name}", GET=self._model),
            route("/models/{owner}/{name}/versions", GET=self._versions),
            route("/models/{owner}/{name}/versions/{version}", GET=self._version),
            route("/models/{owner}/{name}/predictions", POST=self._predict_model),
            route("/deployments/{owner}/{name}", GET=self._deployment),
            route("/deployments/{owner}/{name}/predictions", POST=self._predict_deployment),
            route("/webhooks/default/secret", GET=self._secret),
            *self._file_routes.uploads(),
            *self._trainings,
        ]
        application = Starlette(routes=routes, exception_handlers=refusals.PROBLEM_HANDLERS)
        application.router.redirect_slashes = False
        return Mount("/v1", application)

    async def _predict_version(self, request: Request) -> Response:
        return await self._predict(request, self._of_version)

    async def _predict_model(self, request: Request) -> Response:
        return await self._predict(request, lambda _: self._named(request))

    async def _predict_deployment(self, request: Request) -> Response:
        return await self._predict(request, lambda _: self._named(request), deployment=_name(request))

    async def _predict(self, request: Request, model_of: Callable[[Any], Model], **more: Any) -> Response:
        """Make a prediction.

        Parameters
        ----------
        model_of : see `Intake.read`
        more : what is told of it besides
        """
        asked, webhook = await self._intake.read(request, None, model_of)
        if asked.id is not None:
            raise Refusal(422, "id is for the service to say: leave it out.")
        wait = _wait(request)
        hosted = hosted_replies.asked_for(asked, in_place=wait is not None, **more)
        owner, trace, address = clients.owner(request), request.state.trace, base_url(request)
        prediction = Prediction(asked, owner, trace, base_url=address, hosted=hosted, is_detached=True)
        request.state.prediction = prediction.id
        await self._intake.add(prediction, webhook)
        if wait is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(prediction.ended.wait(), wait)
        shown = await self._shown(prediction.as_hosted(), request)
        # Clients wait on only for one that is starting.
        if not prediction.ended.is_set():
            shown |= {"status": "starting"}
        return HeldReply(201, shown, self._memory, owner)

    async def _prediction(self, request: Request) -> Response:
        shown = await self._shown(await self._find(request), request)
        return HeldReply(200, shown, self._memory, clients.owner(request), is_refusable=True)

    async def _list(self, request: Request) -> Response:
        jobs = await self._jobs.owned_by(clients.owner(request))
        own, address = self._models.own, base_url(request)
        return reply(200, hosted_replies.page([hosted_replies.prediction(job, own, address) for job in jobs]))

    async def _cancel(self, request: Request) -> Response:
        job = await self._find(request)
        prediction = await self._jobs.cancel(clients.owner(request), job["id"])
        if prediction is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(prediction.ended.wait(), _CANCEL_WAIT)
            job = prediction.as_hosted()
        shown = await self._shown(job, request)
        return HeldReply(200, shown, self._memory, clients.owner(request), is_refusable=True)

    async def _all_models(self, request: Request) -> Response:
        address = base_url(request)
        shown = [hosted_replies.model(model, self._models, address) for model in self._models.served]
        return reply(200, hosted_replies.page(shown))

    async def _model(self, request: Request) -> Response:
        model = await asyncio.to_thread(self._named, request)
        return reply(200, hosted_replies.model(model, self._models, base_url(request)))

    async def _versions(self, request: Request) -> Response:
        model = await asyncio.to_thread(self._named, request)
        shown = [hosted_replies.model_version(model, self._models, number) for number in model.versions]
        return reply(200, hosted_replies.page(shown))

    async def _version(self, request: Request) -> Response:
        number = request.path_params["version"]
        model = await asyncio.to_thread(self._models.of_version, number)
        return reply(200, hosted_replies.model_version(model, self._models, number))

    async def _deployment(self, request: Request) -> Response:
        model = await asyncio.to_thread(self._named, request)
        return reply(200, hosted_replies.deployment(_name(request), model, self._models))

    async def _secret(self, request: Request) -> Response:
        if self._webhook_secret is None:
            raise Refusal(404, "Webhooks are not signed: MUSICGEN_WEBHOOK_SECRET has no secret for it.")
        return reply(200, {"key": self._webhook_secret})

    def _named(self, request: Request) -> Model:
        return self._models.named(_name(request))

    def _of_version(self, body: Any) -> Model:
        return self._models.of_version(body.get("version") if isinstance(body, dict) else None)

    async def _find(self, request: Request) -> dict[str, Any]:
        return await self._jobs.find(clients.owner(request), prediction_id(request))

    async def _shown(self, job: dict[str, Any], request: Request) -> dict[str, Any]:
        """A prediction as its client sees it.

        Clients open files at `https` addresses and in data URIs alone. So where the service is reached by `http`, those
        that asked to wait, as `run` does, get data URIs; the others, addresses.
        """
        shown = hosted_replies.prediction(job, self._models.own, base_url(request))
        if job.get("hosted", {}).get("in_place") and not base_url(request).startswith("https:"):
            shown["output"] = await asyncio.to_thread(self._files.in_place, job["output"])
        return shown


def _name(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['name']}"


def _wait(request: Request) -> float | None:
    """For how many seconds the client would have the reply wait, if it would."""
    for preference in preferences(request):
        name, _, seconds = preference.partition("=")
        if name == "wait":
            return min(float(seconds), _MAX_WAIT) if seconds.isdecimal() and seconds.isascii() else _MAX_WAIT
    return None
