"""The one door to audiocraft, and to torchaudio, demucs and beat_this beside it.

audiocraft gives the networks and the checkpoint formats. What is changed here, and why: text encoders
come from local folders and read no more than they were trained to read, and the melody conditioner takes a
ready melody instead of loading and running a separator of its own.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import musicgen_service.models.audiocraft_imports  # noqa: F401  (must come before audiocraft)

# isort: split
import demucs.pretrained
import numpy as np
import torch
import yaml
from audiocraft.models import builders
from audiocraft.models.encodec import CompressionModel, HFEncodecCompressionModel
from audiocraft.models.multibanddiffusion import DiffusionProcess, MultiBandDiffusion
from audiocraft.modules.conditioners import (
    ChromaStemConditioner,
    ClassifierFreeGuidanceDropout,
    ConditioningAttributes,
    T5Conditioner,
    WavCondition,
)
from audiocraft.modules.diffusion_schedule import NoiseSchedule
from beat_this.inference import Audio2Frames as BeatTracker
from beat_this.model.postprocessor import Postprocessor
from demucs.apply import BagOfModels, apply_model
from demucs.hf import load_safetensors_model
from omegaconf import DictConfig
from transformers import EncodecModel
from transformers.utils import logging as transformers_logging

from musicgen_service.engine.interface import Conditioning
from musicgen_service.models import text_reading
from musicgen_service.models.text_reading import TextReading

__all__ = ["BeatTracker", "CompressionModel", "ConditioningAttributes", "MultiBandDiffusion", "builders"]


class _AnyFolder(list[str]):
    """audiocraft lists the text encoders it accepts; a folder holding one is accepted as well."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (Path(str(name)) / "config.json").is_file()


class _FolderWidths(dict[str, int]):
    """The width of a text encoder in a folder, in the table that audiocraft looks it up in."""

    def __missing__(self, name: str) -> int:
        return int(json.loads((Path(name) / "config.json").read_text())["d_model"])


logging.getLogger("audiocraft").setLevel(logging.WARNING)
# Its bar for every text encoder read would stand between the lines of our own progress.
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

T5Conditioner.MODELS = _AnyFolder(T5Conditioner.MODELS)
T5Conditioner.MODELS_DIMS = _FolderWidths(T5Conditioner.MODELS_DIMS)


class _NoSeparator(torch.nn.Module):
    """Stands where the melody conditioner keeps a separator; melodies arrive here already separated."""

    sources = ("vocals", "other")


def _already_melody(_conditioner: Any, wav: torch.Tensor, _sample_rate: int) -> torch.Tensor:
    return wav.mean(dim=1, keepdim=True)


ChromaStemConditioner._get_stemmed_wav = _already_melody  # type: ignore[method-assign,assignment]

_CHROMA = "chroma"
"""In a condition's place for the path of its file: what is given is no waveform, but its chroma."""
_chroma_of_waveform = ChromaStemConditioner._get_wav_embedding


def _chroma(conditioner: Any, given: WavCondition) -> torch.Tensor:
    """The chroma [rows, frames, 12] of each row, as it is where it was given as such."""
    if _CHROMA not in given.path:
        return _chroma_of_waveform(conditioner, given)
    rows = len(given.path)
    chroma = given.wav.reshape(rows, -1, conditioner.chroma.n_chroma)
    # The unconditional row sees what it sees beside a waveform: the chroma of silence.
    silence = _chroma_of_waveform(conditioner, given._replace(wav=torch.zeros_like(given.wav[..., :1])))
    is_given = torch.tensor([path == _CHROMA for path in given.path], device=chroma.device)
    return torch.where(is_given[:, None, None], chroma.to(silence), silence)


ChromaStemConditioner._get_wav_embedding = _chroma  # type: ignore[method-assign,assignment]


@contextmanager
def _without_separator() -> Iterator[None]:
    original = demucs.pretrained.get_model
    demucs.pretrained.get_model = lambda *_args, **_kwargs: _NoSeparator()
    try:
        yield
    finally:
        demucs.pretrained.get_model = original


def build_lm(config: DictConfig) -> Any:
    """A language model as `config` (a checkpoint's `xp.cfg`) describes it, without weights."""
    with _without_separator():
        lm = builders.get_lm_model(config)
    for conditioner in lm.condition_provider.conditioners.values():
        if isinstance(conditioner, T5Conditioner):
            tokenizer = conditioner.t5_tokenizer
            conditioner.t5_tokenizer = partial(tokenizer, truncation=True, max_length=text_reading.limit(tokenizer))
    return lm


def build_codec(config: DictConfig) -> CompressionModel:
    """An EnCodec model as `config` (a codec checkpoint's `xp.cfg`) describes it, without weights."""
    return builders.get_compression_model(config)


def load_hub_codec(folder: Path) -> CompressionModel:
    """The codec of a folder in transformers' format, which released checkpoints point to."""
    return HFEncodecCompressionModel(EncodecModel.from_pretrained(folder)).eval()


def fit_codec(codec: CompressionModel, config: DictConfig) -> CompressionModel:
    """The codec as the language model of `config` uses it: interleaved left and right when stereo."""
    return builders.get_wrapped_compression_model(codec, config).eval()


class MelodySpan(NamedTuple):
    """What a melody conditioner hears at once."""

    frames: int
    seconds: float


def read_text(lm: Any, text: str) -> TextReading:
    """How much of a text the model's text encoder understands."""
    return text_reading.read(lm.condition_provider.conditioners["description"].t5_tokenizer.func, text)


def melody_span(lm: Any) -> MelodySpan:
    """The length of the chroma that the model begins with."""
    conditioner = lm.condition_provider.conditioners["self_wav"]
    return MelodySpan(int(conditioner.chroma_len), float(conditioner.duration))


def repeat_short_melodies(lm: Any) -> None:
    """Fill the melody prefix by repetition and leave none of it masked, as `MusicGen.get_pretrained` does."""
    conditioner = lm.condition_provider.conditioners["self_wav"]
    conditioner.match_len_on_eval = True
    conditioner._use_masking = False


def conditions(
    text: str | None, melody: torch.Tensor | None, sample_rate: int, device: torch.device
) -> ConditioningAttributes:
    """What one clip is conditioned on.

    Parameters
    ----------
    text : description, or None for none
    melody : waveform [1, samples] holding the melody alone, or None
    """
    wav = torch.zeros(1, 1) if melody is None else melody
    return _conditions(text, wav, 0 if melody is None else melody.shape[-1], sample_rate, None, device)


def chroma_conditions(
    text: str | None, chroma: torch.Tensor, sample_rate: int, device: torch.device
) -> ConditioningAttributes:
    """What one clip is conditioned on when its harmony is given as chroma.

    Parameters
    ----------
    text : description, or None for none
    chroma : float [12, frames] from pitch class C on, with the frames of `melody_span`
    """
    return _conditions(text, chroma.T.reshape(1, -1), chroma.numel(), sample_rate, _CHROMA, device)


def _conditions(
    text: str | None, given: torch.Tensor, length: int, sample_rate: int, path: str | None, device: torch.device
) -> ConditioningAttributes:
    attributes = ConditioningAttributes(text={"description": text})
    attributes.wav["self_wav"] = WavCondition(
        given[None].to(device), torch.tensor([length], device=device), [sample_rate], [path], [0.0]
    )
    return attributes


@torch.no_grad()
def conditioning(lm: Any, attributes: ConditioningAttributes) -> Conditioning:
    """Conditions of one clip as the engine takes them: tensors, by the way they enter the network."""
    null = ClassifierFreeGuidanceDropout(p=1.0)([attributes])
    device = next(lm.condition_provider.parameters()).device
    with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
        tensors = lm.condition_provider(lm.condition_provider.tokenize([attributes, *null]))
    text, prefix = None, None
    for name, (embedding, _mask) in tensors.items():
        if lm.fuser.cond2fuse[name] == "cross":
            # The unconditional row's text is all zeros, and what is seen of it too: it is left out.
            text = embedding[0]
        else:
            prefix = embedding if prefix is None else torch.cat([embedding, prefix], dim=1)
    return Conditioning(text, prefix)


def load_diffusion(package: dict[Any, Any], codec: CompressionModel, device: torch.device) -> MultiBandDiffusion:
    """MultiBand Diffusion from a loaded checkpoint, decoding the codes of `codec` (mono)."""
    processes = []
    for band in range(package["n_bands"]):
        config = package[band]["cfg"]
        model = builders.get_diffusion_model(config)
        model.load_state_dict(package[band]["model_state"])
        processor = builders.get_processor(config.processor, sample_rate=package["sample_rate"])
        processor.load_state_dict(package[band]["processor_state"])
        schedule = NoiseSchedule(**config.schedule, sample_processor=processor.to(device), device=device)
        processes.append(DiffusionProcess(model.to(device).eval(), schedule))
    return MultiBandDiffusion(processes, codec)


def load_separator(folder: Path) -> BagOfModels:
    """Demucs from a folder with `htdemucs.yaml` and the safetensors files that it names."""
    bag = yaml.safe_load((folder / "htdemucs.yaml").read_text())
    models = [load_safetensors_model(folder / f"{signature}.safetensors") for signature in bag["models"]]
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


@torch.no_grad()
def separate(separator: BagOfModels, wav: torch.Tensor, device: torch.device) -> dict[str, torch.Tensor]:
    """Split a waveform [2, samples] at the separator's own rate into its sources, each [2, samples].

    Without random shifts, so that the same sound always gives the same stems.
    """
    stems = apply_model(separator, wav[None], shifts=0, device=device)[0]
    return dict(zip(separator.sources, stems.cpu(), strict=True))


def load_beat_tracker(folder: Path, device: torch.device) -> BeatTracker:
    """Beat This! from a folder with `final0.ckpt`, by its own loader, which restores nothing but tensors and numbers.

    The loader is given an open file: a name that it does not find it would look for on the internet.
    """
    with (folder / "final0.ckpt").open("rb") as checkpoint:
        return BeatTracker(checkpoint, device)


class FoundBeats(NamedTuple):
    """Beats and downbeats in seconds, ascending, each downbeat also a beat; and the mean probability of the beats."""

    beats: np.ndarray
    downbeats: np.ndarray
    probability: float


def find_beats(tracker: BeatTracker, mono: np.ndarray, rate: int) -> FoundBeats:
    """Where Beat This! hears the beats of float32 samples [samples]."""
    beat, downbeat = tracker(mono, rate)
    peaks = Postprocessor()
    beats, downbeats = peaks(beat, downbeat)
    at = torch.from_numpy(np.round(beats * peaks.fps)).long()
    return FoundBeats(beats, downbeats, float(beat.cpu()[at].sigmoid().mean()) if len(beats) else 0.0)
