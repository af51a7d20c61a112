"""The only module that imports audiocraft, the reference implementation that our own networks are compared with.

It generates tokens when `MUSICGEN_ENGINE=reference`, and provides MultiBand Diffusion. Its conditioners are subclassed
here so that text encoders are read from local folders, and a melody is an already separated waveform or chroma.
"""

import collections
import json
import logging
import typing
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import musicgen_service.models.audiocraft_imports  # noqa: F401  (must come before audiocraft)

# isort: split
import torch
from audiocraft.models import builders
from audiocraft.models.encodec import CompressionModel
from audiocraft.models.lm import LMModel
from audiocraft.models.multibanddiffusion import DiffusionProcess, MultiBandDiffusion
from audiocraft.modules.chroma import ChromaExtractor
from audiocraft.modules.conditioners import (
    ConditioningAttributes,
    ConditioningProvider,
    T5Conditioner,
    WavCondition,
    WaveformConditioner,
)
from audiocraft.modules.diffusion_schedule import NoiseSchedule
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from torch.nn import functional
from transformers.utils import logging as transformers_logging

from musicgen_service.engine.interface import MAX_TEXT_TOKENS, Condition
from musicgen_service.models import state
from musicgen_service.models.checkpoint_config import DESCRIPTION, MELODY

__all__ = ["CompressionModel", "MultiBandDiffusion", "builders"]

logging.getLogger("audiocraft").setLevel(logging.WARNING)
# audiocraft uses torch's older weight_norm.
warnings.filterwarnings("ignore", r"`torch\.nn\.utils\.weight_norm` is deprecated", FutureWarning)
# Its progress bar for each text encoder would interrupt our own progress output.
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class _AnyFolder(list[str]):
    """audiocraft's list of accepted text encoders, which also accepts a folder that holds one."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (Path(str(name)) / "config.json").is_file()


class _FolderWidths(dict[str, int]):
    """audiocraft's table of text encoder widths, which also reads the width from a folder's configuration."""

    def __missing__(self, name: str) -> int:
        return int(json.loads((Path(name) / "config.json").read_text())["d_model"])


class _LocalT5Conditioner(T5Conditioner):
    """A text encoder from a local folder; texts are truncated to the length that it was trained on."""

    MODELS = _AnyFolder(T5Conditioner.MODELS)
    MODELS_DIMS = _FolderWidths(T5Conditioner.MODELS_DIMS)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        tokenizer = self.t5_tokenizer
        self.t5_tokenizer = partial(
            tokenizer, truncation=True, max_length=min(tokenizer.model_max_length, MAX_TEXT_TOKENS)
        )


class _Chroma(WavCondition):
    """A melody in the form of chroma: `wav` holds [1, frames, pitch classes]."""


class _MelodyConditioner(WaveformConditioner):
    """Chroma of melodies: audiocraft's `ChromaStemConditioner` without its separator, with the same weight names.

    Attributes
    ----------
    duration, chroma_len : seconds and frames of the chroma prefix; a shorter melody is repeated
    """

    def __init__(
        self,
        output_dim: int,
        duration: float,
        device: str,
        sample_rate: int,
        n_chroma: int,
        radix2_exp: int,
        **options: Any,
    ) -> None:
        super().__init__(n_chroma, output_dim, device)
        for training_only in ("match_len_on_eval", "eval_wavs", "n_eval_wavs", "cache_path"):
            options.pop(training_only, None)
        self.duration = duration
        self.chroma = ChromaExtractor(sample_rate, n_chroma, radix2_exp, **options).to(device)
        self.chroma_len = self.chroma(torch.zeros(1, int(sample_rate * duration), device=device)).shape[1]

    def forward(  # type: ignore[override]
        self, melodies: list[WavCondition]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed melodies, one per row: [rows, frames, dim], and the padding mask."""
        with torch.no_grad(), torch.autocast(torch.device(self.device).type, enabled=False):
            chroma = self._chroma_of(melodies)
        embedding = self.output_proj(chroma.to(self.output_proj.weight))
        return embedding, torch.ones_like(embedding[..., 0])

    def _chroma_of(self, melodies: list[WavCondition]) -> torch.Tensor:
        """Return chroma [rows, `chroma_len`, 12]; a row without a melody gets the chroma of silence."""
        if any(isinstance(melody, _Chroma) for melody in melodies):
            silence = self._fit_length(self.chroma(torch.zeros(1, 1, device=self.device)))
            rows = [melody.wav.to(silence) if isinstance(melody, _Chroma) else silence for melody in melodies]
            return torch.cat(rows)
        longest = max(melody.wav.shape[-1] for melody in melodies)
        padded = [functional.pad(melody.wav, (0, longest - melody.wav.shape[-1])) for melody in melodies]
        return self._fit_length(self.chroma(torch.cat(padded).to(self.device)))

    def _fit_length(self, chroma: torch.Tensor) -> torch.Tensor:
        repeats = -(-self.chroma_len // chroma.shape[1])
        return chroma.repeat(1, repeats, 1)[:, : self.chroma_len]


class _Conditions(ConditioningProvider):
    """The conditioners of a model, by name."""

    def tokenize(self, inputs: list[ConditioningAttributes]) -> Any:
        """Return the inputs unchanged; `forward` tokenizes them."""
        return inputs

    def forward(  # type: ignore[override]
        self, inputs: list[ConditioningAttributes]
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Compute the embedding [rows, positions, dim] and the mask of every condition, one row per input."""
        conditioners: dict[str, Any] = dict(self.conditioners)
        tensors = {}
        # Text first: the network sees conditions in this order.
        for name in self.text_conditions:
            conditioner = conditioners[name]
            tensors[name] = conditioner(conditioner.tokenize([entry.text[name] for entry in inputs]))
        for name in self.wav_conditions:
            tensors[name] = conditioners[name]([entry.wav[name] for entry in inputs])
        return tensors


def build_lm(config: DictConfig) -> LMModel:
    """Build the language model that `config` (a checkpoint's `xp.cfg`) describes, without weights."""
    options: Any = OmegaConf.to_container(config.transformer_lm)
    options.pop("q_modeling", None)
    attribute_dropout: Any = OmegaConf.to_container(config.attribute_dropout)
    fuser = builders.get_condition_fuser(config)
    if fuser.fuse2cond["cross"]:
        options["cross_attention"] = True
    return LMModel(
        pattern_provider=builders.get_codebooks_pattern_provider(options["n_q"], config.codebooks_pattern),
        condition_provider=_build_conditions(config, options["dim"]).to(config.device),
        fuser=fuser,
        cfg_dropout=config.classifier_free_guidance.training_dropout,
        cfg_coef=config.classifier_free_guidance.inference_coef,
        attribute_dropout=attribute_dropout,
        dtype=getattr(torch, config.dtype),
        device=config.device,
        **options,
    ).to(config.device)


def build_reference_lm(package: Mapping[str, Any], text_encoder: Path, device: torch.device) -> LMModel:
    """Build the language model of a checkpoint, without weights, in the precision in which they are stored.

    Parameters
    ----------
    package : contents of `state_dict.bin`
    text_encoder : folder of the text encoder, including its weights
    """
    config = OmegaConf.create(package["xp.cfg"])
    config.device = str(device)
    stored: torch.dtype = package["best_state"]["transformer.layers.0.linear1.weight"].dtype
    config.dtype = str(stored).removeprefix("torch.")
    config.conditioners.description.t5.name = str(text_encoder)
    # No initialisation: the weights are about to be replaced.
    config.transformer_lm.update(weight_init=None, depthwise_init=None, zero_bias_init=False)
    return build_lm(config).eval()


def _build_conditions(config: DictConfig, width: int) -> _Conditions:
    conditioners: dict[str, Any] = {}
    entries: Any = OmegaConf.to_container(config.conditioners)
    entries.pop("args", None)  # for training
    for name, entry in entries.items():
        options = entry.get(entry["model"])
        match entry["model"]:
            case "t5":
                conditioners[name] = _LocalT5Conditioner(output_dim=width, device=config.device, **options)
            case "chroma_stem":
                duration = config.dataset.segment_duration
                conditioners[name] = _MelodyConditioner(
                    output_dim=width, duration=duration, device=config.device, **options
                )
            case other:
                raise ValueError(f"conditions by '{other}' are not known")
    return _Conditions(conditioners, device=config.device)


def build_codec(config: DictConfig) -> CompressionModel:
    """Build the EnCodec model that `config` (a codec checkpoint's `xp.cfg`) describes, without weights."""
    return builders.get_compression_model(config)


def attributes(condition: Condition) -> ConditioningAttributes:
    """Convert a condition to audiocraft's form, which `LMModel.generate` takes."""
    # A model that takes a melody always needs one; one sample of silence stands for none.
    melody = torch.zeros(1, 1) if condition.melody is None else condition.melody
    wav = WavCondition(melody[None], torch.tensor([melody.shape[-1]]), [0], [None], [0.0])
    if condition.chroma is not None:
        wav = _Chroma(*wav._replace(wav=condition.chroma.T[None]))
    return ConditioningAttributes(text={DESCRIPTION: condition.text}, wav={MELODY: wav})


def load_diffusion(file: Path, codec: Any, device: torch.device) -> MultiBandDiffusion:
    """Load MultiBand Diffusion from its checkpoint, for the codes of `codec` (mono)."""
    # Its configuration is stored as pickled objects; these classes are safe to unpickle.
    builtin: list[Any] = [dict, list, int, float, bool, str, collections.defaultdict, typing.Any]
    package = state.read_pickle(file, [*builtin, DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode])
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
