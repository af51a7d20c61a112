"""The one door to audiocraft, and to torchaudio and demucs behind it.

audiocraft gives the networks and the checkpoint formats. What is changed here, and why: text encoders
come from local folders, and the melody conditioner takes a ready melody instead of loading and running
a separator of its own.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import musicgen_service.models.audiocraft_imports  # noqa: F401  (must come before audiocraft)

# isort: split
import demucs.pretrained
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
from demucs.apply import BagOfModels, apply_model
from demucs.hf import load_safetensors_model
from omegaconf import DictConfig
from transformers import EncodecModel
from transformers.utils import logging as transformers_logging

from musicgen_service.engine.interface import Conditioning

__all__ = ["CompressionModel", "ConditioningAttributes", "MultiBandDiffusion", "builders"]


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
        return builders.get_lm_model(config)


def build_codec(config: DictConfig) -> CompressionModel:
    """An EnCodec model as `config` (a codec checkpoint's `xp.cfg`) describes it, without weights."""
    return builders.get_compression_model(config)


def load_hub_codec(folder: Path) -> CompressionModel:
    """The codec of a folder in transformers' format, which released checkpoints point to."""
    return HFEncodecCompressionModel(EncodecModel.from_pretrained(folder)).eval()


def fit_codec(codec: CompressionModel, config: DictConfig) -> CompressionModel:
    """The codec as the language model of `config` uses it: interleaved left and right when stereo."""
    return builders.get_wrapped_compression_model(codec, config).eval()


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
    attributes = ConditioningAttributes(text={"description": text})
    wav = torch.zeros(1, 1, 1) if melody is None else melody[None]
    length = 0 if melody is None else melody.shape[-1]
    attributes.wav["self_wav"] = WavCondition(
        wav.to(device), torch.tensor([length], device=device), [sample_rate], [None], [0.0]
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
