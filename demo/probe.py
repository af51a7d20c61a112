"""What a language model has understood, as losses on songs it never saw."""

import re
from typing import Any

import torch
from torch import Tensor

from demo import data
from demo.language_model import conditions, losses
from demo.quantiser import Quantiser
from demo.text import TEMPI


def _drums_flipped(caption: str) -> str:
    if "no drums" in caption:
        return caption.replace("no drums", "with drums")
    return re.sub(r"with (soft |hard )?drums", "no drums", caption)


class Probe:
    """Losses on 24 held-back songs: as they are, with another tempo in the caption, with drums denied, with no melody.

    A tempo that is not understood can be swapped at no loss: the gap is the first sign of a beat to come.
    """

    def __init__(self, quantiser: Quantiser, chroma: torch.nn.Module, songs: int = 24) -> None:
        self.shard = data.make_shard(quantiser, chroma, data.HELD_BACK, songs, 10.0)

    @torch.no_grad()
    def __call__(self, lm: Any) -> dict[str, float | list[float]]:
        """Cross-entropy by codebook, and what wrong conditions add to its mean (nats)."""
        training = lm.training
        lm.eval()
        device = lm.emb[0].weight.device
        captions: list[str | None] = [*self.shard.captions]
        slower: list[str | None] = [
            re.sub(r"\d+(?= bpm)", lambda m: str(_other_tempo(int(m[0]))), c) for c in self.shard.captions
        ]
        flipped: list[str | None] = [_drums_flipped(c) for c in self.shard.captions]
        codes = self.shard.codes.long().to(device)
        melodies: list[Tensor | None] = [*self.shard.lead]
        silence: list[Tensor | None] = [None] * len(captions)
        true, tempo, drums, silent = (
            losses(lm, codes, conditions(lm, words, heard))
            for words, heard in (
                (captions, melodies),
                (slower, melodies),
                (flipped, melodies),
                (captions, silence),
            )
        )
        lm.train(training)
        return {
            "loss": [round(float(x), 3) for x in true],
            "wrong tempo": round(float((tempo - true).mean()), 4),
            "wrong drums": round(float((drums - true).mean()), 4),
            "no melody": round(float((silent - true).mean()), 4),
        }


def _other_tempo(bpm: int) -> int:
    return TEMPI[(TEMPI.index(bpm) + 9) % len(TEMPI)]
