"""Base class of all predictors: connects Cog to the service, and reports metrics and errors."""

import asyncio
import gc
import logging
import math
import pathlib
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, ClassVar

import cog.types
from cog import BaseRunner, CancelationException, Path

from musicgen_service import notes, settings
from musicgen_service.inputs import fetching
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, Field
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.serving import audio_channel, json_text, request_thread, worker_socket

# Cog would fetch every address in a `Path` input itself, without any limit. With this it passes them on.
cog.types.Path.validate = lambda address: address

HEALTH_PERIOD = 10.0
"""Seconds for which the result of a successful health check is reused."""


class ServiceRunner(BaseRunner):
    """A Cog predictor backed by `MusicGenService`; a subclass declares the inputs in `run`."""

    fields: Mapping[str, Field] = FIELDS
    """The inputs of `run`."""
    names: ClassVar[Mapping[str, str]] = {}
    """Its names for fields of a request, where they differ."""
    trains: ClassVar[bool] = False
    """Whether it has an input for adapters, and so trainings."""
    _healthy_at = -math.inf
    _audio_socket: pathlib.Path | None = None

    def setup(self) -> None:
        """Load the models named in `MUSICGEN_MODELS`; called by Cog."""
        given = settings.load_at_start()
        self.start(given.models)
        self._audio_socket = given.audio_socket
        self.service.max_audio_seconds = given.max_audio_seconds
        if given.worker_socket is not None:
            self._answer_questions(given.worker_socket)

    def _answer_questions(self, path: pathlib.Path) -> None:
        """Answer what the gateway asks."""
        from prometheus_client import generate_latest

        from musicgen_service.serving.worker_metrics import registry_of

        registry = registry_of(self.service)
        answers = {
            worker_socket.METRICS: lambda: generate_latest(registry),
            worker_socket.MODELS: lambda: json_text.encode(self.service.loaded),
        }
        worker_socket.publish(answers, path)

    def start(self, models: Sequence[str]) -> None:
        """Load models by name; without a name, the best one for text."""
        # Output of libraries may contain paths, so it goes to the server's log only. The prediction's log goes to the
        # client and contains everything written to Cog's `sys.stderr`, which logging handlers capture at import.
        with redirect_stderr(sys.__stderr__), _garbage_collection_deferred():
            # Imported here, so that reading the inputs of a predictor does not load torch.
            from musicgen_service.service import MusicGenService
        logging.basicConfig(stream=sys.__stderr__)
        logging.captureWarnings(True)

        self.service = MusicGenService()
        self.service.setup(models)

    def healthcheck(self) -> bool:
        """Generate a few tokens, called by Cog for `/health-check`; a recent success is not repeated."""
        if time.monotonic() - self._healthy_at > HEALTH_PERIOD:
            if not self.service.is_healthy():
                return False
            self._healthy_at = time.monotonic()
        return True

    def translate(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Translate the inputs of `run` to those of a `GenerationRequest`.

        Raises
        ------
        RequestError
            When they have no equivalent.
        """
        return dict(inputs)

    def reword(self, sentence: str) -> str:
        """Replace the names of a request's fields in a sentence by the names that `run` uses."""
        return sentence

    def resolve(
        self, inputs: Mapping[str, Any], present: Sequence[str], adapters: Mapping[str, str] | None = None
    ) -> GenerationRequest:
        """Resolve the inputs to a complete request, given what there is; see `GenerationRequest.from_inputs`.

        Raises
        ------
        RequestError
            When the inputs are not allowed, with every reason.
        """
        with notes.collected(quiet=True):
            return GenerationRequest.from_inputs(self.translate(inputs), present, adapters)

    async def run_request(self, arguments: Mapping[str, Any]) -> list[Path]:
        """Carry out a call of `run`, in a thread of its own; other calls are carried out at the same time.

        Parameters
        ----------
        arguments : the arguments of `run` by name, `self` among them

        Returns
        -------
        The generated files; the response's metrics contain their names, the seed of each that is audio, the task, the
        model, how much audio was asked for, in seconds, and any notes. Those of a request that fails contain its task,
        model and audio, where these were found.
        """
        metrics: dict[str, Any] = {}
        try:
            files = await request_thread.run(lambda: self.carry_out(arguments, metrics))
            metrics["files"] = [file.name for file in files]
            return files
        except (asyncio.CancelledError, CancelationException):
            metrics.clear()  # its slot may be another prediction's by now
            raise
        finally:
            # In this task: recorded in another thread, metrics may land in another prediction.
            for name, value in metrics.items():
                self.record_metric(name, value)

    def carry_out(self, arguments: Mapping[str, Any], metrics: dict[str, Any]) -> list[Path]:
        """Carry out a call of `run` in this thread; returns the generated files.

        Parameters
        ----------
        arguments : the arguments of `run` by name
        metrics : receives the metrics, each as soon as it is known
        """

        def note_request(request: GenerationRequest) -> None:
            metrics.update(
                task=request.task, model=request.model_version, audio_seconds=round(request.audio_seconds, 3)
            )
            if request.parts:
                metrics["sections"] = [list(times) for times in request.section_times]  # Cog takes no tuples

        try:
            inputs = {name: value for name, value in arguments.items() if name != "self"}
            channel = audio_channel.opened(self._audio_socket, self.scope.context, self.reword)
            with notes.collected(self.reword) as noted, channel as listener:
                with fetching.local_files(inputs, self.fields) as local_inputs:
                    inputs = decode_files(local_inputs, self.fields)
                files, seeds = self.service.generate(self.translate(inputs), listener, note_request)
        except RequestError:
            raise
        except Exception as error:
            from musicgen_service import client_errors

            # Cog drops the traceback, so it is printed to the server's log. Output to `sys.stderr` would also appear in
            # the prediction's log, which goes to the client's webhook.
            if trace := self.scope.context.get("traceparent"):
                print(f"traceparent {trace}:", file=sys.__stderr__)
            traceback.print_exc(file=sys.__stderr__)
            raise client_errors.to_client_error(error) from None
        metrics.update({"seed": seeds[0], "seeds": seeds} | ({"notes": noted} if noted else {}))
        return [Path(file) for file in files]


@contextmanager
def _garbage_collection_deferred() -> Iterator[None]:
    """Import libraries without looking for garbage meanwhile, or for any among their parts later: there is none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
