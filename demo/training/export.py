"""Writes trained models as a checkpoint folder in audiocraft's own format."""

import shutil
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from demo.training import codec, language_model, text_encoder
from demo.training.files import atomic_write, load
from musicgen_service.models.store import WeightStore

AUDIOCRAFT_VERSION = "1.3.0"  # whose format this is
LOGIT_SCALE = (2.1, 1.5, 1.5, 1.5)
"""Factor on each codebook's logits after training: sampling at a temperature of 1 / LOGIT_SCALE.

A small model assigns a little probability to hundreds of unsuitable codes, and default sampling (temperature 1, the 250
likeliest) draws one of them every few frames: a note out of key, or a drum in a song without drums, which is audible at
once and then continued. Measured on 83 clips, the key was right in 57 % at 1.3, 64 % at 1.5 and 60 % at 1.8; on 200
clips, drums were right in 94.5 % at 1.5, 95 % at 1.8 and 97 % at 2.1.
"""
_T5 = "condition_provider.conditioners.description.t5."


def _save(path: Path, weights: dict[str, Tensor], config: DictConfig) -> None:
    """Write weights in half precision with the configuration they belong to."""
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


def export(training: Path, checkpoint: Path) -> None:
    """Export a training folder's models to a checkpoint folder that the service loads, replacing an existing one.

    T5 is trained with the language model but stored separately, in `checkpoint`/t5, as for a released checkpoint.
    """
    with atomic_write(checkpoint) as folder:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _save(folder / "compression_state_dict.bin", load(training / "codec.pt")["model"], codec.config())
        average = load(training / "language_model.pt")["average"]
        weights = {name: value for name, value in average.items() if not name.startswith(_T5)}
        for codebook, factor in enumerate(LOGIT_SCALE):
            weights[f"linears.{codebook}.weight"] = factor * weights[f"linears.{codebook}.weight"]
        _save(folder / "state_dict.bin", weights, language_model.config("t5", finetune=False))
        encoder, tokenizer = text_encoder.load(training / "t5")
        encoder.load_state_dict(
            {name.removeprefix(_T5): value for name, value in average.items() if name.startswith(_T5)}
        )
        text_encoder.share_embeddings(encoder, tokenizer)
        encoder.save_pretrained(folder / "t5")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(training / "t5" / name, folder / "t5" / name)
        WeightStore(folder.parent).write_manifest(folder.name)
