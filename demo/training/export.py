"""Writes trained models as a checkpoint folder in audiocraft's own format."""

import shutil
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from demo.training import codec, language_model
from demo.training import text_encoder as text
from musicgen_service.models.store import WeightStore

AUDIOCRAFT_VERSION = "1.3.0"
SHARPENED = (2.1, 1.5, 1.5, 1.5)
"""How much louder each codebook's head is than it was trained: sampling at a temperature of 1 / SHARPENED.

A small model spreads a little of its trust over hundreds of codes that do not fit, and default sampling (temperature 1,
the 250 likeliest) draws one of them every few frames: a note out of key, or a drum where there is none, which is heard
at once and taken up for good.
"""
_T5 = "condition_provider.conditioners.description.t5."


def _save(path: Path, weights: dict[str, Tensor], config: DictConfig) -> None:
    """Writes weights in half precision with the configuration they belong to."""
    half = {
        name: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
        for name, value in weights.items()
    }
    package: dict[str, Any] = {
        "best_state": half,
        "xp.cfg": OmegaConf.to_yaml(config),
        "version": AUDIOCRAFT_VERSION,
        "exported": True,
    }
    torch.save(package, path)


def export(training: Path, folder: Path) -> None:
    """Turns the checkpoints of a training folder into a checkpoint that the service loads.

    T5 is trained with the language model but lives beside it, in `folder`/t5, as a released checkpoint's does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained_codec = torch.load(training / "codec.pt", weights_only=True)["model"]
    _save(folder / "compression_state_dict.bin", trained_codec, codec.config())
    average = torch.load(training / "lm.pt", weights_only=True)["average"]
    weights = {name: value for name, value in average.items() if not name.startswith(_T5)}
    for codebook, factor in enumerate(SHARPENED):
        weights[f"linears.{codebook}.weight"] = factor * weights[f"linears.{codebook}.weight"]
    _save(folder / "state_dict.bin", weights, language_model.config("t5", finetune=False))
    encoder, tokenizer = text.load(training / "t5")
    encoder.load_state_dict({name.removeprefix(_T5): value for name, value in average.items() if name.startswith(_T5)})
    text.share_embeddings(encoder, tokenizer)
    encoder.save_pretrained(folder / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(training / "t5" / name, folder / "t5" / name)
    WeightStore(folder.parent).write_manifest(folder.name)
