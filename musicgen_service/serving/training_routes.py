"""The routes of trainings, in the form of the hosted platform."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.serving import bodies, clients, files, hosted_replies, training_inputs, training_request
from musicgen_service.serving.availability import Availability
from musicgen_service.serving.file_routes import FileRoutes
from musicgen_service.serving.intake import webhook_address
from musicgen_service.serving.models import Model, Models
from musicgen_service.serving.outbound import Address
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.routing import base_url, prediction_id, route
from musicgen_service.serving.stand_in import stand_in
from musicgen_service.serving.training import Training
from musicgen_service.serving.training_request import TrainingRequest
from musicgen_service.serving.trainings import Trainings
from musicgen_service.serving.webhooks import Webhooks
from musicgen_service.training import layout

_SAMPLE = re.compile(r"step\d{1,9}-\d\.wav", re.ASCII)
_OFF = "Trainings are turned off here."


class TrainingRoutes:
    """Handles requests about trainings.

    Parameters
    ----------
    models : what is served
    availability : whether anything is accepted
    trainings : those that have not ended, and what is kept of others; None where there are none
    file_routes : checks addresses of the service
    webhooks : reports to clients
    memory : counts the bodies of requests
    """

    def __init__(
        self,
        models: Models,
        availability: Availability,
        trainings: Trainings | None,
        file_routes: FileRoutes,
        webhooks: Webhooks,
        memory: bodies.BodyMemory,
    ) -> None:
        self._models = models
        self._availability = availability
        self._running = trainings
        self._file_routes = file_routes
        self._webhooks = webhooks
        self._memory = memory

    def routes(self) -> list[Route]:
        """Those below `/v1`."""
        return [
            route("/trainings", GET=self._list, POST=self._train),
            route("/trainings/{id}", GET=self._one),
            route("/trainings/{id}/cancel", POST=self._cancel),
            route("/trainings/{id}/{file}", GET=self._file),
            route("/models/{owner}/{name}/versions/{version}/trainings", POST=self._train_version),
        ]

    @property
    def _trainings(self) -> Trainings:
        if self._running is None:
            raise Refusal(404, _OFF)
        return self._running

    async def _train(self, request: Request) -> Response:
        return await self._accept(request, self._of_body)

    async def _train_version(self, request: Request) -> Response:
        return await self._accept(request, lambda _: self._models.of_version(request.path_params["version"]))

    def _of_body(self, body: Any) -> Model:
        version = body.get("version") if isinstance(body, dict) else None
        return self._models.own if version is None else self._models.of_version(version)

    async def _accept(self, request: Request, model_of: Callable[[Any], Model]) -> Response:
        trainings = self._trainings
        owner = clients.owner(request)
        async with bodies.reading(request, self._memory) as body:
            model = await asyncio.to_thread(model_of, body)  # which may look for it on the disk
            if not model.trains:
                able = ", ".join(served.name for served in self._models.served if served.trains) or "none"
                raise Refusal(422, f"{model.name} has no trainings; of the models here these have some: {able}.")
            asked = training_request.read(body, model)
            self._file_routes.check(
                {f"{training_inputs.SONGS}[{number}]": song for number, song in enumerate(asked.songs)}, request
            )
            webhook = await webhook_address(asked.webhook)
            base = stand_in(str(asked.values["model_version"]))
            await asyncio.to_thread(self._check, asked, base, owner)
            training = Training(asked, base, owner, request.state.trace, base_url(request))
            request.state.prediction = training.id
            await trainings.add(training, partial(self._report, training, webhook))
        return reply(201, self._shown(training.as_record(), base_url(request)))

    def _check(self, asked: TrainingRequest, base: str, owner: str) -> None:
        """Check that a training can be begun.

        Raises
        ------
        Refusal
            When it cannot.
        """
        self._availability.check()
        if find_spec("peft") is None:
            raise Refusal(501, "Trainings need the extra 'train', which is not installed with this service.")
        store = WeightStore.from_environment()
        adapters = AdapterStore.of(store)
        try:
            store.require(base)
        except WeightsError as error:
            raise Refusal(422, str(error)) from None
        if asked.is_preview:
            return
        if asked.name in adapters.names():
            raise Refusal(409, f"There is an adapter '{asked.name}' already: choose another name.")
        unfinished = layout.work_folder(store, asked.name).exists()
        if unfinished and self._trainings.records.owner_of(asked.name) not in (None, owner):
            raise Refusal(409, f"Another client has begun to train '{asked.name}': choose another name.")

    def _report(self, training: Training, webhook: Address | None) -> None:
        """Have a training reported to its client's webhook, if it has one."""
        if webhook is not None:
            training.on_event = self._webhooks.report(
                training, webhook, lambda: self._shown(training.as_record(), training.base_url)
            )

    async def _one(self, request: Request) -> Response:
        return reply(200, self._shown(self._find(request), base_url(request)))

    async def _list(self, request: Request) -> Response:
        address = base_url(request)
        found = [self._current(record) for record in self._trainings.records.owned_by(clients.owner(request))]
        return reply(200, hosted_replies.page([self._shown(record, address) for record in found]))

    async def _cancel(self, request: Request) -> Response:
        record = self._find(request)
        training = self._trainings.find(record["owner"], record["id"])
        if training is not None:
            await self._trainings.cancel(training)
            record = training.as_record()
        return reply(200, self._shown(record, base_url(request)))

    async def _file(self, request: Request) -> Response:
        record, name = self._find(request), request.path_params["file"]
        if name == f"{record['name']}.zip":
            return files.response(await asyncio.to_thread(_archive, record), is_temporary=True)
        folders = self._folders(record)
        paths = [folder / layout.SAMPLES / name for folder in folders] if _SAMPLE.fullmatch(name) else []
        paths += [folder / name for folder in folders if name == layout.PICTURE]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            raise Refusal(404, "This training has no such file, or not yet.")
        return files.response(found)

    def _find(self, request: Request) -> dict[str, Any]:
        record = self._trainings.records.find(clients.owner(request), prediction_id(request))
        if record is None:
            raise Refusal(404, "There is no such training, or it ended too long ago.")
        return self._current(record)

    def _current(self, record: dict[str, Any]) -> dict[str, Any]:
        """A training as it is now."""
        running = self._trainings.find(record["owner"], record["id"])
        return record if running is None else running.as_record()

    def _shown(self, record: dict[str, Any], address: str) -> dict[str, Any]:
        """A training as its client sees it."""
        training = self._trainings.find(record["owner"], record["id"])
        position = None if training is None else self._trainings.position(training)
        return hosted_replies.training(record, address, position, _files(self._folders(record)))

    def _folders(self, record: dict[str, Any]) -> list[Path]:
        """Where the files of a training are, whether or not they exist: while it goes on, and afterwards."""
        # A name is used again: its folder is that of the client that has trained it last.
        if record["is_preview"] or self._trainings.records.owner_of(record["name"]) != record["owner"]:
            return []
        store = WeightStore.from_environment()
        if record["status"] == "succeeded":
            return [AdapterStore.of(store).root / record["name"]]
        return [layout.work_folder(store, record["name"])]


def _files(folders: Sequence[Path]) -> list[str]:
    """The names of the samples and of the picture that a training has so far."""
    names = []
    for folder in folders:
        if (samples := folder / layout.SAMPLES).is_dir():
            names += sorted(path.name for path in samples.iterdir() if _SAMPLE.fullmatch(path.name))
        if (folder / layout.PICTURE).is_file():
            names.append(layout.PICTURE)
    return names


def _archive(record: dict[str, Any]) -> Path:
    """Write the adapter of a training as a zip, in a folder of its own.

    Raises
    ------
    Refusal
        When it is not there, or another one has its name.
    """
    try:
        adapter = AdapterStore.of(WeightStore.from_environment()).get(record["name"])
    except WeightsError as error:
        raise Refusal(404, str(error)) from None
    if record["adapter"] is None or adapter.sha256 != record["adapter"]["sha256"]:
        raise Refusal(404, f"The adapter '{record['name']}' is not that of this training.")
    from musicgen_service.models import adapter_exchange  # imports torch, which takes seconds, and is rarely needed

    folder = Path(tempfile.mkdtemp(prefix="musicgen-archive-"))
    try:
        adapter_exchange.export(adapter, folder / f"{adapter.name}.zip")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / f"{adapter.name}.zip"
