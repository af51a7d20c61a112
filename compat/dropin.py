"""What the drop-in predictors share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import cog

from musicgen_service import settings
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.progress import log
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import check
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.signature import declared
from musicgen_service.serving.cog_runner import ServiceRunner

DEMO = "demo"
"""As `MUSICGEN_MODELS`: the demo checkpoint stands in for every model."""


class DropIn(ServiceRunner):
    """Another system's inputs, translated; a subclass declares them in `run`."""

    default_model = ""
    """What is loaded at start unless `MUSICGEN_MODELS` says otherwise."""
    names: ClassVar[Mapping[str, str]] = {}
    """This system's names of a request's fields, where they differ."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.fields = declared(cls.run)

    def start(self, models: Sequence[str]) -> None:
        """Load models into memory; see `ServiceRunner.start`."""
        super().start(models or (self.default_model,))

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs that passed their own checks in the words of a request; each subclass has its own."""
        raise NotImplementedError

    def translate(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs in the words of a request; see `ServiceRunner.translate`."""
        values, problems = check(self.fields, inputs)
        if problems:
            raise RequestError(problems)
        return self.as_request(values)

    def resolve(self, inputs: Mapping[str, Any], present: Sequence[str]) -> GenerationRequest:
        """The request that the inputs amount to; see `ServiceRunner.resolve`."""
        with self._own_words():
            return super().resolve(inputs, present)

    def run_request(self, arguments: Mapping[str, Any]) -> list[cog.Path]:
        """Carry out what `run` was asked for; see `ServiceRunner.run_request`."""
        with self._own_words():
            return super().run_request(arguments)

    def run_single(self, arguments: Mapping[str, Any]) -> cog.Path:
        """The same for a system that makes one file."""
        [file] = self.run_request(arguments)
        return file

    def checkpoint(self, model: str, *, follows_melody: bool = False) -> str:
        """The checkpoint that plays what a client asks of `model`."""
        able = [name for name in self.fields["model_version"].choices or () if _takes_melody(name)]
        if follows_melody and model not in able:
            names = " or ".join(able)
            raise RequestError([f"Model '{model}' takes no melody: use {names}, or set continuation to true."])
        return stand_in(model)

    def reword(self, sentence: str) -> str:
        """A sentence in this system's names of inputs; see `ServiceRunner.reword`."""
        for name, own in self.names.items():
            sentence = re.sub(rf"\b{name}\b", own, sentence)
        return sentence

    @contextmanager
    def _own_words(self) -> Iterator[None]:
        """Have errors name the inputs as this system does."""
        try:
            yield
        except RequestError as error:
            raise RequestError([self.reword(problem) for problem in error.problems]) from None


def stand_in(model: str) -> str:
    """`model`, or the demo checkpoint where that is to play everything."""
    if settings.load().models != (DEMO,):
        return model
    log(f"MUSICGEN_MODELS={DEMO}: this is NOT '{model}'; the demo checkpoint plays in its place")
    return DEMO


def prompt_seconds(inputs: Mapping[str, Any]) -> float:
    """Seconds of `input_audio` that a continuation goes on from; 0 where the request's own checks find fault."""
    start, end = inputs["continuation_start"], inputs["continuation_end"]
    length = inputs["input_audio"].seconds if inputs["input_audio"] else 0.0
    if end is not None and end >= 0:
        length = min(length, end)
    return max(0.0, length - start)


def _takes_melody(model: str) -> bool:
    return model in CHECKPOINTS and CHECKPOINTS[model].takes_melody
