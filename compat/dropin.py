"""Base class of the drop-in predictors."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import cog

from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import check
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.signature import declared_fields
from musicgen_service.serving.cog_runner import ServiceRunner
from musicgen_service.serving.stand_in import stand_in


class DropIn(ServiceRunner):
    """A predictor with another system's inputs; a subclass declares them in `run`."""

    hosted_as = ""
    """The hosted model that it takes the place of, as `owner/name`."""
    versions: ClassVar[tuple[str, ...]] = ()
    """Versions of hosted models that have these inputs, by their first eight digits or more."""
    default_model = ""
    """The model loaded at start unless `MUSICGEN_MODELS` names others."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.fields = declared_fields(cls.run)

    def start(self, models: Sequence[str]) -> None:
        """Load models into memory; see `ServiceRunner.start`."""
        super().start(models or (self.default_model,))

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Translate validated inputs to those of a request; each subclass implements this."""
        raise NotImplementedError

    def translate(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Check and translate the inputs; see `ServiceRunner.translate`."""
        values, problems = check(self.fields, inputs)
        if problems:
            raise RequestError(problems)
        return self.as_request(values)

    def resolve(
        self, inputs: Mapping[str, Any], present: Sequence[str], adapters: Mapping[str, str] | None = None
    ) -> GenerationRequest:
        """Resolve the inputs to a request; see `ServiceRunner.resolve`."""
        with self._reworded_errors():
            return super().resolve(inputs, present, adapters)

    def carry_out(self, arguments: Mapping[str, Any], metrics: dict[str, Any]) -> list[cog.Path]:
        """Carry out a call of `run`; see `ServiceRunner.carry_out`."""
        with self._reworded_errors():
            return super().carry_out(arguments, metrics)

    async def run_single(self, arguments: Mapping[str, Any]) -> cog.Path:
        """Like `run_request`, for a system that returns one file."""
        [file] = await self.run_request(arguments)
        return file

    def checkpoint(self, model: str, *, follows_melody: bool = False) -> str:
        """The checkpoint to use when a client requests `model`."""
        able = [name for name in self.fields["model_version"].choices or () if _takes_melody(name)]
        if follows_melody and model not in able:
            names = " or ".join(able)
            raise RequestError([f"Model '{model}' takes no melody: use {names}, or set continuation to true."])
        return stand_in(model)

    def reword(self, sentence: str) -> str:
        """Replace names of inputs in a sentence by this system's; see `ServiceRunner.reword`."""
        for name, own in self.names.items():
            sentence = re.sub(rf"\b{name}\b", own, sentence)
        return sentence

    @contextmanager
    def _reworded_errors(self) -> Iterator[None]:
        """Make errors name the inputs as this system does."""
        try:
            yield
        except RequestError as error:
            raise RequestError([self.reword(problem) for problem in error.problems]) from None


def prompt_seconds(inputs: Mapping[str, Any]) -> float:
    """Seconds of `input_audio` that a continuation starts from; 0 for invalid bounds, which validation reports."""
    start, end = inputs["continuation_start"], inputs["continuation_end"]
    length = inputs["input_audio"].seconds if inputs["input_audio"] else 0.0
    if end is not None and end >= 0:
        length = min(length, end)
    return max(0.0, length - start)


def _takes_melody(model: str) -> bool:
    return model in CHECKPOINTS and CHECKPOINTS[model].takes_melody
