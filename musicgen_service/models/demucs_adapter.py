"""The only module that imports demucs, a source separator."""

from pathlib import Path

import torch
import yaml
from demucs.apply import BagOfModels, apply_model
from demucs.hf import load_safetensors_model


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
