"""The requests of a batch: checked, each with its own seed and name."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_service import naming, seeds
from musicgen_service.audio.reading import AudioInput
from musicgen_service.batch.audio_inputs import AudioInputs
from musicgen_service.batch.lists import Entry
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.progress import quiet
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.serving.cog_runner import ServiceRunner

_RANDOM_SEEDS = (None, 0, -1)
_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Item:
    """A request that can be carried out.

    Attributes
    ----------
    line : its number in the list
    name : its id and its digest: the beginning of the names of its files, different for each request of a batch
    inputs : as the predictor takes them, the seed among them; a file is a `Path` or an address
    model : the checkpoint, as far as it is known here
    seconds : of audio that it makes, at most
    """

    line: int
    id: str
    name: str
    inputs: dict[str, Any]
    model: str
    seconds: float


class Preparation:
    """Checks entries and makes items of them.

    Parameters
    ----------
    predictor : whose inputs they are
    present : the checkpoints that can be used; None where only the server knows them
    version : of the service that carries the requests out
    adapters : summaries of the adapters by name (see `models.adapters.Adapter`); None where nobody here knows them
    """

    def __init__(
        self,
        predictor: ServiceRunner,
        present: Sequence[str] | None,
        version: str,
        adapters: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._predictor = predictor
        self._present = present
        self._adapters = adapters or {}
        known = {name: str(summary.get("base", "")) for name, summary in self._adapters.items()}
        self._bases = None if adapters is None else known
        self._version = version
        self._audio = AudioInputs()

    def items(self, entries: Iterable[Entry], settings: Mapping[str, Any]) -> tuple[list[Item], list[str]]:
        """Prepare the entries of a list.

        Parameters
        ----------
        settings : inputs of every entry, before its own

        Returns
        -------
        The items of the lines that can be carried out, in their order, and a sentence for each problem
        """
        items: list[Item] = []
        problems: list[str] = []
        seen: Counter[str] = Counter()
        by_id: dict[str, int] = {}
        by_name: dict[str, int] = {}
        for entry in entries:
            occurrence = seen[entry.text]
            seen[entry.text] += 1
            if entry.id is not None and (other := by_id.setdefault(entry.id, entry.line)) != entry.line:
                problems.append(f"line {entry.line}: The id '{entry.id}' is that of line {other} already.")
            try:
                item = self._item(entry, settings, occurrence)
            except RequestError as error:
                problems += [f"line {entry.line}: {problem}" for problem in error.problems]
                continue
            if (other := by_name.setdefault(item.name, entry.line)) != entry.line:
                same = "asks for the same as line {} with the same seed: leave one of them out, or the seed."
                problems.append(f"line {entry.line}: This {same.format(other)}")
                continue
            items.append(item)
        return items, problems

    def _item(self, entry: Entry, settings: Mapping[str, Any], occurrence: int) -> Item:
        inputs = {**entry.inputs, **settings}
        if (seed := inputs.get("seed")) in _RANDOM_SEEDS and not isinstance(seed, bool):
            # The same wherever the line stands; lines that say the same are takes of their own.
            inputs["seed"] = seeds.derive(0, entry.text, occurrence)
        with quiet():
            values = self._audio.stand_ins(inputs, self._predictor.fields)
            present = list(CHECKPOINTS) if self._present is None else self._present
            request = self._predictor.resolve(values, present, self._bases)
        model = request.model_version
        if self._present is None and inputs.get("model_version", "auto") == "auto" and "auto" in self._choices:
            model = "auto"
        own_id = entry.id or _default_id(request)
        return Item(entry.line, own_id, f"{own_id}-{self._digest(request, model)}", inputs, model, _seconds(request))

    def _digest(self, request: GenerationRequest, model: str) -> str:
        """A digest of all that determines the clips: inputs, the content of files and adapters, model and version."""
        values = {**request.as_inputs(), "model_version": model, "version": self._version}
        for name, value in values.items():
            if isinstance(value, AudioInput):
                values[name] = value.sha256 or value.name
        if request.adapters:
            values["adapter"] = [(*one, self._adapters.get(one.name, {}).get("sha256")) for one in request.adapters]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]

    @property
    def _choices(self) -> Sequence[str]:
        field = self._predictor.fields.get("model_version")
        return (field and field.choices) or ()


def shard_of(items: Sequence[Item], number: int, count: int) -> list[Item]:
    """The items of shard `number`, from 1, of `count`."""
    return list(items[number - 1 :: count])


def by_model(items: Iterable[Item]) -> list[Item]:
    """Order items so that each model is loaded once, the one that comes first in the list first."""
    grouped: dict[str, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.model, []).append(item)
    return [item for group in grouped.values() for item in group]


def _default_id(request: GenerationRequest) -> str:
    """A name from the prompt, or else from the task."""
    return naming.slug(request.prompt or "") or request.task


def _seconds(request: GenerationRequest) -> float:
    length = request.duration
    if "duration" in request.spec.unused and request.input_audio is not None:
        length = request.input_audio.slice(request.continuation_start, request.continuation_end).seconds
    return length * request.variations


def shown_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in JSON types; of a data URI only its beginning."""
    return dict(_shown(inputs))


def _shown(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in inputs.items():
        if isinstance(value, str) and value.startswith("data:"):
            value = f"{value[:30]}... ({len(value)} characters)"
        yield name, str(value) if isinstance(value, Path) else value
