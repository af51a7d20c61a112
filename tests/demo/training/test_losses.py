"""Losses of decoded waveforms."""

import pytest
import torch

from demo import measure
from demo.synth import Synthesiser
from demo.training import losses


def test_the_onset_loss_compares_librosas_envelopes() -> None:
    song = Synthesiser(snap=True).song(5, 4.0, style="rock", drums=True)
    first, second = (torch.from_numpy(song.audio - less * song.stems["drums"])[None] for less in (0.0, 0.9))
    ours, theirs = (rises.mean(1)[0] for rises in map(losses.band_onsets, (first, second)))
    mine = float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1])
    assert mine == pytest.approx(measure.onset_correlation(first[0].numpy(), second[0].numpy()), abs=0.02)
    assert losses.onset_loss(first, first) < 1e-3
    assert losses.onset_loss(second, first) > 0.1
