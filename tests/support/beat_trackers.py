"""Checkpoints of Beat This! in the published format: one with random weights, and one with known output."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from beat_this.model.beat_tracker import BeatThis

from musicgen_service.models.catalogue import BEAT_TRACKER
from tests.support.sounds import RATE

PUBLISHED: dict[str, Any] = {
    "spect_dim": 128,
    "transformer_dim": 512,
    "ff_mult": 4,
    "n_layers": 6,
    "head_dim": 32,
    "stem_dim": 32,
    "dropout": {"frontend": 0.1, "transformer": 0.2},
    "sum_head": True,
    "partial_transformers": True,
}
_LISTENING = {"transformer_dim": 32, "n_layers": 0, "stem_dim": 1, "sum_head": False, "partial_transformers": False}
_LOUD_LOW, _LOUD_HIGH = 1.5, 1.9
_TICK = RATE // 50


def random_network() -> BeatThis:
    """Of the published size."""
    torch.manual_seed(4)
    return BeatThis(**PUBLISHED)


def listening_network() -> BeatThis:
    """Detects a beat at every onset, and a downbeat at onsets of high sounds.

    Of each layer one channel is used: the difference of two frames, and then means of neighbouring bands.
    """
    network = BeatThis(**{**PUBLISHED, **_LISTENING})
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if "norm" not in name and "bn" not in name:
                tensor.zero_()
        network.frontend.stem.conv2d.weight[0, 0, :, 0], network.frontend.stem.conv2d.weight[0, 0, :, 1] = -0.25, 0.25
        for block in network.frontend.blocks:
            block.conv2d.weight[0, 0, :, 1] = 0.5
        # Four bands are left; the first feature is the lowest, the second the highest, the third a constant.
        network.frontend.linear.weight[0, 0] = network.frontend.linear.weight[1, 3] = 1.0
        network.frontend.linear.bias[2] = 1.0
        head = network.task_heads.beat_downbeat_lin.weight
        head[0, 0], head[0, 2], head[1, 1], head[1, 2] = 1.0, -_LOUD_LOW, 1.0, -_LOUD_HIGH
    return network


def save(network: BeatThis, weights: Path, **hyperparameters: Any) -> Path:
    """Write a checkpoint of PyTorch Lightning without its optimiser, as published, into a weights folder."""
    folder = weights / BEAT_TRACKER
    folder.mkdir(parents=True)
    package = {
        "state_dict": {f"model.{name}": tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": {**PUBLISHED, "fps": 50, "lr": 0.0008, "max_epochs": 100, **hyperparameters},
        "datamodule_hyper_parameters": {"batch_size": 8, "train_length": 1500, "spect_fps": 50},
        "pytorch-lightning_version": "2.2.1",
    }
    torch.save(package, folder / "final0.ckpt")
    return folder / "final0.ckpt"


def save_listening(weights: Path) -> Path:
    """Write the checkpoint that detects `ticks`."""
    return save(listening_network(), weights, **_LISTENING)


def ticks(beats: np.ndarray, downbeats: np.ndarray, seconds: float) -> np.ndarray:
    """Low ticks [samples] at given seconds, with high ones on the downbeats."""
    audio = np.zeros(round(seconds * RATE), np.float32)
    time = np.arange(_TICK) / RATE
    for times, frequencies in ((beats, (200, 320, 450)), (downbeats, (6000, 7500, 9000))):
        tick = np.sum([np.sin(2 * np.pi * f * time) for f in frequencies], axis=0) * np.exp(-time / 0.005)
        for start in np.round(times * RATE).astype(int):
            part = audio[start : start + _TICK]
            part += 0.2 * tick[: len(part)]
    return audio
