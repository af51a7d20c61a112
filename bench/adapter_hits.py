"""How likely a model thinks the hits of drums, each token predicted from the right ones before it.

Between hits the demo's codebook of drums has codes of what is not heard, which nobody can predict: they are most of its
loss, and a loss that falls says nothing about rhythm. Whether there is a hit is heard.
"""

from collections.abc import Sequence

from demo.synth import FRAME, Song

import numpy as np
import torch
from torch.nn import functional

_RISE = 0.02
"""Mean rise of the level of the drums in the frames of a code, above which it strikes one."""
_NEAR = 2
"""Frames beside a hit that count neither as one nor as free of them."""


def codes(songs: Sequence[Song], tokens: Sequence[torch.Tensor], card: int) -> torch.Tensor:
    """Find the codes that strike a drum: bool [card].

    Parameters
    ----------
    tokens : of each song, int64 [codebooks, frames], the first codebook that of the drums
    card : codes of a codebook
    """
    rises, counts = np.zeros(card), np.zeros(card)
    for song, row in zip(songs, tokens, strict=True):
        drums = row[0].numpy()
        frames = song.stems["drums"][: len(drums) * FRAME].reshape(-1, FRAME)
        level = np.sqrt((frames**2).mean(1))
        np.add.at(rises, drums[: len(level)], np.maximum(0, np.diff(level, prepend=0)))
        np.add.at(counts, drums[: len(level)], 1)
    return torch.from_numpy(rises / np.maximum(counts, 1) > _RISE)


def probabilities(logits: torch.Tensor, tokens: torch.Tensor, codes: torch.Tensor) -> tuple[float, float]:
    """Mean probability of a hit where there is one, and where there is none near.

    Parameters
    ----------
    logits : float [codebooks, frames, card]
    tokens : int64 [codebooks, frames]
    codes : those of hits, bool [card]
    """
    hit = logits[0].float().softmax(-1)[:, codes].sum(-1)
    struck = codes[tokens[0]]
    near = functional.max_pool1d(struck[None].float(), 2 * _NEAR + 1, 1, _NEAR)[0] > 0
    return float(hit[struck].mean()), float(hit[~near].mean())
