"""Attention and feed-forward outputs of the untrained language model."""

from pathlib import Path

import pytest
import torch

from demo.training import quantiser, rhythm_init
from demo.training.language_model import conditions, create


@pytest.mark.parametrize("bpm", [70, 90, 125])
def test_copy_heads_attend_to_the_frame_a_beat_ago(t5: Path, bpm: int) -> None:
    torch.manual_seed(0)
    lm = create(t5)[0].eval()
    seen: list[torch.Tensor] = []
    lm.transformer.layers[1].norm1.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    codes = torch.randint(0, quantiser.CODEBOOK_SIZE, (1, quantiser.CODEBOOKS, 300))
    with torch.no_grad():
        lm.compute_predictions(codes, [], conditions(lm, [f"rock guitar with drums, {bpm} bpm"], [None]))
    query, key, _, _ = rhythm_init._head(lm.transformer.layers[1], 0)
    at = len(seen[0]) - 40
    scores = (seen[0] @ key.T) @ (seen[0][at] @ query.T)
    recent = scores[at - 150 : at + 1]  # what is longer ago, and the prefix, is left to training
    assert abs((150 - int(recent.argmax())) - (3000 / bpm - 1)) <= 2


@pytest.mark.parametrize("bpm", [60, 90, 125, 170])
def test_cycle_units_write_bar_phases(t5: Path, bpm: int) -> None:
    torch.manual_seed(0)
    lm = create(t5)[0].eval()
    written: list[torch.Tensor] = []
    lm.transformer.layers[0].linear2.register_forward_hook(lambda _module, _inputs, output: written.append(output[0]))
    frames = torch.arange(500)
    codes = torch.randint(0, quantiser.CODEBOOK_SIZE, (1, quantiser.CODEBOOKS, len(frames)))
    with torch.no_grad():
        lm.compute_predictions(codes, [], conditions(lm, [f"rock guitar with drums, {bpm} bpm"], [None]))
    start = len(written[0]) - len(frames) - quantiser.CODEBOOKS + 1
    cycles = written[0][start : start + len(frames), rhythm_init.ChannelLayout(lm.dim).cycles]
    for cycle, bars in enumerate(rhythm_init.BAR_CYCLES):
        if bars == 1 and bpm > 100:  # too fast for a sum of slow sinusoids
            continue
        phase = 2 * torch.pi * frames * bpm / (4 * 3000 * bars)
        for column, expected in ((cycle, torch.cos(phase)), (cycle + len(rhythm_init.BAR_CYCLES), torch.sin(phase))):
            assert torch.corrcoef(torch.stack([cycles[:, column], expected]))[0, 1] > 0.9
