"""The Python API: load a model and generate clips."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
import torch

from musicgen_service import home, notes
from musicgen_service.audio.reading import AudioError
from musicgen_service.finished_clip import FinishedClip
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, check
from musicgen_service.service import MusicGenService

__all__ = ["AudioError", "FinishedClip", "Inputs", "MusicGen", "RequestError", "WeightsError", "load"]


class Inputs(TypedDict, total=False):
    """The inputs of a request, as over HTTP; one that is None or omitted takes its default.

    `docs/inputs.md` lists meanings, bounds and defaults. `input_audio` and `audio_chords` are paths of files.
    """

    negative_prompt: str | None
    sections: str | None
    task: str | None
    model_version: str | None
    adapter: str | None
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
    time_signature: str | None
    text_chords: str | None
    audio_chords: str | os.PathLike[str] | None
    beat_sync_threshold: float | None
    chroma_coefficient: float | None
    return_midi: bool | None
    trim_to_bars: bool | None
    repeat: int | None
    fade_in: float | None
    fade_out: float | None
    output_format: str | None
    sample_rate: int | None
    bit_depth: int | None
    seed: int | None


def load(
    model: str = "auto", *, weights: str | os.PathLike[str] | None = None, device: str | torch.device | None = None
) -> "MusicGen":
    """Load a checkpoint into memory.

    Parameters
    ----------
    model : name as in `weights list`; `auto` uses the best one available for each request
    weights : the weights folder; by default that of `MUSICGEN_WEIGHTS`
    device : such as `cpu` or `cuda:0`; by default a GPU where there is one

    Raises
    ------
    RequestError
        When the name is unknown.
    WeightsError
        When the weights are missing, damaged, or do not fit into memory.
    SettingsError
        When an environment variable has an invalid value.
    """
    _, problems = check({"model_version": FIELDS["model_version"]}, {"model_version": model})
    if problems:
        raise RequestError(problems)
    store = None if weights is None else WeightStore(home.expanded(weights))
    service = MusicGenService(store, None if device is None else torch.device(device))
    service.setup([] if model == "auto" else [model])
    return MusicGen(service, model)


class MusicGen:
    """A loaded model; see `load`. Calls from several threads share its steps.

    Parameters
    ----------
    service : generates the clips
    model : the `model_version` of requests that give none
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
        """Generate one clip or several.

        Parameters
        ----------
        prompt : a description of the music
        variations : number of clips, each with a different seed
        return_stems : whether each clip is followed by its stems
        inputs : see `Inputs`

        Returns
        -------
        A clip; a list when `variations` is given or `return_stems` is true

        Raises
        ------
        RequestError
            When the inputs are invalid, or a file is not audio; lists every problem.
        WeightsError
            When a required model is missing, damaged, or does not fit into memory.
        """
        values = self._inputs(prompt, {**inputs, "variations": variations, "return_stems": return_stems})
        with notes.collected() as noted:
            clips = self._service.clips(values)
        clips = [replace(clip, notes=list(noted)) for clip in clips]
        return clips if variations is not None or return_stems else clips[0]

    def stream(self, prompt: str | None = None, **inputs: Unpack[Inputs]) -> Iterator[np.ndarray]:
        """Generate a clip and yield it in pieces while the rest is being generated.

        Parameters
        ----------
        prompt : a description of the music
        inputs : see `Inputs`; loops, remixes, `multi_band_diffusion` and `trim_to_bars` need the complete clip

        Returns
        -------
        Consecutive float32 arrays [channels, samples]: 0.2, 0.5 and 1 s, then 2 s each, the last with the remainder. A
        continuation begins with its input audio. The level is the model's own, as normalisation needs the complete
        clip. Generation ends when the iterator is exhausted or closed.

        Raises
        ------
        RequestError
            When the inputs are invalid, or cannot be streamed; lists every problem.
        """
        return self._service.stream(self._inputs(prompt, inputs))

    def _inputs(self, prompt: str | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs in the form that the service accepts."""
        values = {"prompt": prompt, **inputs}
        if values.get("model_version") is None:
            values["model_version"] = self._model
        for name, field in FIELDS.items():
            if field.kind is Path and isinstance(values.get(name), str):
                values[name] = Path(values[name])
        return decode_files(values, FIELDS)
