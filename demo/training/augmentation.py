"""Corrupts the language model's inputs, so that it learns to recover from what should not have been sampled.

Music is trained on as it should be, but generated from what the model sampled before. Without corruption three mistakes
feed themselves: one hit in a song without drums is taken up for good; a chord that was missed when it was due stays; a
song that has thinned out falls silent. And music that goes on from itself need not heed the prompt after the first
second. The targets are never corrupted. (Scheduled sampling, Bengio et al. 2015, has the same aim; sampling while
training would cost far more.)
"""

from itertools import pairwise

import torch
from torch import Tensor

from demo.synth.captions import read_tempo
from demo.training.songs import BEATS_PER_BAR, FRAME_RATE

SPAN = 25  # frames (half a second) that are replaced at a time: long enough to be heard as other music
SILENCE_SHARE = 0.25
"""Share of clips whose replaced spans are silence instead of another clip. After 1,000 steps of it, none of 8 sparse
songs fell silent when continued without a prompt; all 8 had."""
MOST_REPEATED_BARS = 0.8
"""Largest share of a clip's bars that repeat the bar before; a clip's own share is drawn evenly from 0. After 2,400
steps of it the key was right in 72 % of clips instead of 64 %."""


def corrupted_inputs(codes: Tensor, captions: list[str | None], silence: Tensor, step: int) -> Tensor:
    """Inputs to predict a batch from: bars of some clips repeated, then spans replaced by another clip or silence.

    The share of a clip that is replaced is the square of an even draw, a third on average: some clips are hardly ever
    disturbed, and some nearly all the time, as a clip that has lost its key is wrong for seconds.

    Parameters
    ----------
    codes : ``[batch, CODEBOOKS, frames]``
    captions : whose tempo says how long a bar is; without one no bar is repeated
    silence : codes of a silent frame, ``[CODEBOOKS]``
    step : seeds the draw
    """
    generator = torch.Generator().manual_seed(step)
    share = torch.rand(len(codes), 1, 1, generator=generator).square()
    replaced = torch.rand(len(codes), 1, -(-codes.shape[-1] // SPAN), generator=generator) < share
    replaced = replaced.repeat_interleave(SPAN, dim=-1)[..., : codes.shape[-1]].to(codes.device)
    silent = (torch.rand(len(codes), 1, 1, generator=generator) < SILENCE_SHARE).to(codes.device)
    replacement = torch.where(silent, silence[:, None], codes.roll(1, 0))
    inputs = codes.clone()
    for clip, caption in enumerate(captions):
        tempo = read_tempo(caption or "")
        if tempo:
            bars = torch.split(inputs[clip], round(BEATS_PER_BAR * FRAME_RATE * 60 / tempo), dim=-1)
            repeated = torch.rand(len(bars), generator=generator) < MOST_REPEATED_BARS * torch.rand(
                1, generator=generator
            )
            for (before, bar), repeats in zip(pairwise(bars), repeated[1:], strict=True):
                if repeats:
                    bar.copy_(before[:, : bar.shape[-1]])
    return torch.where(replaced, replacement, inputs)
