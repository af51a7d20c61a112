"""Corrupted inputs of the language model."""

import torch

from demo.training import quantiser
from demo.training.augmentation import corrupted_inputs


def test_spans_are_replaced_and_bars_repeated() -> None:
    bar = 133  # frames, at 90 bpm
    codes = torch.arange(500).expand(2, quantiser.CODEBOOKS, 500) + torch.tensor([0, 1000])[:, None, None]
    silence = torch.full((quantiser.CODEBOOKS,), 9999)
    inputs = [corrupted_inputs(codes, ["90 bpm, piano", "piano"], silence, step) for step in range(60)]
    silent = torch.stack(inputs) == 9999
    off = torch.where(silent, 0, torch.stack(inputs) - codes)
    assert set(off[:, 0].flatten().tolist()) == {-3 * bar, -2 * bar, -bar, 0, 1000}
    assert set(off[:, 1].flatten().tolist()) == {-1000, 0}  # no tempo, no bar
    assert (off[:, 0, :, :bar] >= 0).all()  # nothing was a bar before
    assert (off == off[:, :, :1]).all()  # all codebooks of a frame together
    assert 0.1 < (off[:, 0] == 1000).float().mean() < 0.3
    assert 0.03 < silent.float().mean() < 0.15
    assert not (silent.any(-1) & (off.abs() == 1000).any(-1)).any()  # one or the other
