"""Which model a prediction needs, as far as the gateway knows: the replica that reads its inputs decides."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from musicgen_service.models.adapters import read_label
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests import adapter_text
from musicgen_service.serving.prediction_request import PredictionRequest

_CHOOSING = ("model_version", "task", "continuation")
_CHOOSING_BY_PRESENCE = ("input_audio", "audio_chords", "text_chords")
"""Inputs that a checkpoint is chosen by, with all values that the schema allows, or only whether they are there."""
_SEPARATOR, _UNKNOWN = " + ", "?"


class InMemory:
    """What replicas have told of the models in their memory.

    Attributes
    ----------
    labels : of those models; written by the thread of the router
    """

    labels: frozenset[str] = frozenset()


IN_MEMORY = InMemory()
"""What the router of this process has been told last."""


class Needed(NamedTuple):
    """A model.

    Attributes
    ----------
    checkpoint : by name; empty where it is not known
    adapters : each as `name:strength`
    """

    checkpoint: str = ""
    adapters: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str) -> "Needed":
        """Read what `str` writes."""
        checkpoint, *adapters = text.split(_SEPARATOR)
        return cls("" if checkpoint == _UNKNOWN else checkpoint, frozenset(adapters))

    def __str__(self) -> str:
        return _SEPARATOR.join([self.checkpoint or _UNKNOWN, *sorted(self.adapters)])

    def is_in(self, labels: Iterable[str]) -> bool:
        """Whether it is among the loaded models of these labels."""
        return any(self._is(*read_label(label)) for label in labels)

    def _is(self, checkpoint: str, applied: Mapping[str, str]) -> bool:
        return self.checkpoint in ("", checkpoint) and self.adapters == applied.keys()

    @property
    def without_adapters(self) -> "Needed":
        """What has to be loaded before its adapters are."""
        return Needed(self.checkpoint)


class NeededModels:
    """Tells which models predictions need, and learns it from what replicas report."""

    def __init__(self) -> None:
        self._checkpoints: dict[tuple[Any, ...], str] = {}
        self._bases: dict[str, str] = {}

    def of(self, request: PredictionRequest) -> Needed:
        """The model that a prediction is likely to need."""
        applied = _adapters(request)
        bases = [self._bases[one.name] for one in applied if one.name in self._bases]
        named = str(request.inputs.get("model_version") or "")
        known = bases[0] if bases else self._checkpoints.get(_kind(request), named if named in CHECKPOINTS else "")
        if applied and not bases and named not in CHECKPOINTS:
            known = ""  # that of their base, which no prediction has told yet
        return Needed(known, frozenset(f"{one.name}:{one.strength:g}" for one in applied if one.strength))

    def learn(self, request: PredictionRequest, metrics: Mapping[str, Any]) -> None:
        """Learn from the metrics of a prediction which checkpoint it was carried out with."""
        checkpoint = metrics.get("model")
        if checkpoint not in CHECKPOINTS:
            return
        if applied := _adapters(request):
            self._bases |= {one.name: checkpoint for one in applied}
        else:
            self._checkpoints[_kind(request)] = checkpoint


def _kind(request: PredictionRequest) -> tuple[Any, ...]:
    """What a checkpoint is chosen by: one of a few values."""
    inputs = request.inputs
    chosen = (inputs.get(name) for name in _CHOOSING)
    return request.model.system, *chosen, *(bool(inputs.get(name)) for name in _CHOOSING_BY_PRESENCE)


def _adapters(request: PredictionRequest) -> list[adapter_text.NamedAdapter]:
    text, weights = request.inputs.get("adapter"), request.inputs.get("replicate_weights")
    if isinstance(weights, str):  # of the drop-in for the fine-tuner
        text = adapter_text.of_weights(weights)
    try:
        return adapter_text.parse(text) if isinstance(text, str) and text.strip() else []
    except ValueError:
        return []  # which the replica refuses
