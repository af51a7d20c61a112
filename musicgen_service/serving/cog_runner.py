"""What every predictor shares: the service upstream_port it, and what it tells of a request."""

import logging
import math
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Any

import cog.types
from cog import BaseRunner, Path

from musicgen_service import notes, settings
from musicgen_service.inputs import fetching
from musicgen_service.inputs.decoding import decoded
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, Field
from musicgen_service.requests.request import GenerationRequest

# Cog would fetch every address in a `Path` input itself, without any limit. With this it hands them through.
cog.types.Path.validate = lambda address: address

HEALTH_PERIOD = 10.0
"""Seconds for which a successful health check holds."""


class ServiceRunner(BaseRunner):
    """A Cog predictor whose requests the service carries out; a subclass declares the inputs, in `run`."""

    fields: Mapping[str, Field] = FIELDS
    """What `run` takes."""
    _healthy_at = -math.inf

    def setup(self) -> None:
        """Load into memory the models that `MUSICGEN_MODELS` names; called by Cog."""
        self.start(settings.at_start().models)

    def start(self, models: Sequence[str]) -> None:
        """Load models into memory by name; without a name, the one that serves best."""
        # What libraries say may name paths. It is for the server's log: a prediction's own goes to its client, and has
        # what is written to Cog's `sys.stderr`, which their handlers would take as they are imported.
        with redirect_stderr(sys.__stderr__):
            # Imported here, so that reading the inputs of a predictor does not load torch.
            from musicgen_service.service import MusicGenService
        logging.basicConfig(stream=sys.__stderr__)
        logging.captureWarnings(True)

        self.service = MusicGenService()
        self.service.setup(models)

    def healthcheck(self) -> bool:
        """Make a few tokens, as Cog asks at `/health-check`; one that has just succeeded need not be repeated."""
        if time.monotonic() - self._healthy_at > HEALTH_PERIOD:
            if not self.service.is_healthy():
                return False
            self._healthy_at = time.monotonic()
        return True

    def translate(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of `run` in the words of a `GenerationRequest`.

        Raises
        ------
        RequestError
            When there is no such request.
        """
        return dict(inputs)

    def reword(self, sentence: str) -> str:
        """A sentence about the fields of a request, in the names that `run` has for them."""
        return sentence

    def resolve(self, inputs: Mapping[str, Any], present: Sequence[str]) -> GenerationRequest:
        """The request that the inputs amount to, given the checkpoints that are `present`.

        Raises
        ------
        RequestError
            When the inputs are not allowed, with every reason.
        """
        with notes.collected(quiet=True):
            return GenerationRequest.from_inputs(self.translate(inputs), present)

    def run_request(self, arguments: Mapping[str, Any]) -> list[Path]:
        """Carry out what `run` was asked for.

        Parameters
        ----------
        arguments : the arguments of `run` by name, `self` among them

        Returns
        -------
        The files made; the seed of each is in the response's metrics, and so is what was noted on the way, if anything.
        """
        try:
            inputs = {name: value for name, value in arguments.items() if name != "self"}
            with notes.collected(self.reword) as noted:
                with fetching.local(inputs, self.fields) as found:
                    inputs = decoded(found, self.fields)
                files, seeds = self.service.generate(self.translate(inputs))
        except RequestError:
            raise
        except Exception as error:
            from musicgen_service import client_errors

            # Cog keeps the traceback to itself. The log of the server has it: what is written to `sys.stderr` is in the
            # prediction's own log too, which goes to the client's webhook.
            traceback.print_exc(file=sys.__stderr__)
            raise client_errors.to_client_error(error) from None
        self.record_metric("seed", seeds[0])
        self.record_metric("seeds", seeds)
        if noted:
            self.record_metric("notes", noted)
        return [Path(file) for file in files]
