"""The Python API: a model, and the clips that it makes."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
import torch

from musicgen_service import notes
from musicgen_service.audio.reading import AudioError
from musicgen_service.finished_clip import FinishedClip
from musicgen_service.inputs.decoding import decoded
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, check
from musicgen_service.service import MusicGenService

__all__ = ["AudioError", "FinishedClip", "Inputs", "MusicGen", "RequestError", "WeightsError", "load"]


class Inputs(TypedDict, total=False):
    """The inputs of a request, as over HTTP; one that is None, or left out, has its default.

    `docs/inputs.md` has what each means, its bounds and its default. `input_audio` is the path of a file.
    """

    task: str | None
    model_version: str | None
    input_audio: str | os.PathLike[str] | None
    duration: float | None
    continuation: bool | None
    continuation_start: float | None
    continuation_end: float | None
    multi_band_diffusion: bool | None
    normalization_strategy: str | None
    top_k: int | None
    top_p: float | None
    temperature: float | None
    classifier_free_guidance: float | None
    bpm: float | None
    beat_sync_threshold: float | None
    chroma_coefficient: float | None
    output_format: str | None
    seed: int | None


def load(
    model: str = "auto", *, weights: str | os.PathLike[str] | None = None, device: str | torch.device | None = None
) -> "MusicGen":
    """Load a checkpoint into memory.

    Parameters
    ----------
    model : its name, as `weights list` has it; `auto` takes the best one present for each request
    weights : the weights folder; by default the one of `MUSICGEN_WEIGHTS`
    device : such as `cpu` or `cuda:0`; by default a GPU where there is one

    Raises
    ------
    RequestError
        When there is no model of that name.
    WeightsError
        When its weights are missing or damaged, or do not fit into memory.
    SettingsError
        When an environment variable has a value that it may not have.
    """
    _, problems = check({"model_version": FIELDS["model_version"]}, {"model_version": model})
    if problems:
        raise RequestError(problems)
    store = None if weights is None else WeightStore(Path(weights).expanduser())
    service = MusicGenService(store, None if device is None else torch.device(device))
    service.setup([] if model == "auto" else [model])
    return MusicGen(service, model)


class MusicGen:
    """A model in memory; made by `load`. It does one thing at a time, whatever the number of threads that ask it.

    Parameters
    ----------
    service : makes the clips
    model : what requests are for that name no `model_version`
    """

    def __init__(self, service: MusicGenService, model: str) -> None:
        self._service = service
        self._model = model

    @overload
    def generate(
        self, prompt: str | None = None, *, return_stems: Literal[False] = False, **inputs: Unpack[Inputs]
    ) -> FinishedClip: ...

    @overload
    def generate(
        self, prompt: str | None = None, *, variations: int, return_stems: bool = False, **inputs: Unpack[Inputs]
    ) -> list[FinishedClip]: ...

    @overload
    def generate(
        self, prompt: str | None = None, *, return_stems: Literal[True], **inputs: Unpack[Inputs]
    ) -> list[FinishedClip]: ...

    def generate(
        self,
        prompt: str | None = None,
        *,
        variations: int | None = None,
        return_stems: bool = False,
        **inputs: Any,
    ) -> FinishedClip | list[FinishedClip]:
        """Make a clip, or several.

        Parameters
        ----------
        prompt : a description of the music
        variations : how many clips to make, each with a seed of its own
        return_stems : whether a remix brings its backing and its vocals, too
        inputs : see `Inputs`

        Returns
        -------
        A clip; a list where `variations` is given, or `return_stems` is true

        Raises
        ------
        RequestError
            When the inputs are not allowed, or `input_audio` is no audio; with every reason.
        WeightsError
            When a model that they need is missing, damaged, or does not fit into memory.
        """
        values = self._inputs(prompt, {**inputs, "variations": variations, "return_stems": return_stems})
        with notes.collected() as noted:
            clips = self._service.clips(values)
        clips = [replace(clip, notes=list(noted)) for clip in clips]
        return clips if variations is not None or return_stems else clips[0]

    def stream(self, prompt: str, **inputs: Unpack[Inputs]) -> Iterator[np.ndarray]:
        """Make a clip from a prompt and hand it out while more of it is being made.

        Parameters
        ----------
        prompt : a description of the music
        inputs : see `Inputs`; `duration` is at most one window of the model, which is 30 s, and 20 s for the demo

        Returns
        -------
        float32 arrays [channels, samples], a second each, the last with the rest. Their level is the model's own: one
        can only be set once the whole clip is there. Nothing else can be made before the last one is out or the
        iterator is closed.

        Raises
        ------
        RequestError
            When the inputs are not allowed, or not for a stream; with every reason.
        """
        return self._service.stream(self._inputs(prompt, inputs))

    def _inputs(self, prompt: str | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as the service takes them."""
        values = {"prompt": prompt, **inputs}
        if values.get("model_version") is None:
            values["model_version"] = self._model
        if isinstance(values.get("input_audio"), str):
            values["input_audio"] = Path(values["input_audio"])
        return decoded(values, FIELDS)
