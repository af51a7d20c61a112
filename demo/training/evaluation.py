"""What a language model has understood, as losses on songs it never saw."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from demo.synth import seeds
from demo.synth.styles import NOTE_NAMES
from demo.training import songs as data
from demo.training.language_model import conditions, losses
from demo.training.quantiser import CODEBOOKS, Quantiser
from demo.training.text_encoder import TEMPI

TONES = slice(1, CODEBOOKS)  # the codebooks that hear them


def _drums_flipped(caption: str) -> str:
    if "no drums" in caption:
        return caption.replace("no drums", "with drums")
    return re.sub(r"with (soft |hard )?drums", "no drums", caption)


def _tempo_moved(caption: str) -> str:
    """Nine steps of TEMPI faster, or the slowest beyond the fastest."""
    return re.sub(r"\d+(?= bpm)", lambda m: str(TEMPI[(TEMPI.index(int(m[0])) + 9) % len(TEMPI)]), caption)


def _key_moved(caption: str) -> str:
    """Another key: six semitones off."""

    def moved(match: re.Match[str]) -> str:
        names = [name.lower() for name in NOTE_NAMES]
        return f"{names[(names.index(match[1]) + 6) % 12]} {match[2]}"

    return re.sub(r"\b([a-g][b#]?) (major|minor)", moved, caption)


class Probe:
    """Losses on 24 held-back songs: as they are, and with another tempo or key in the caption, drums denied, no melody.

    A tempo that is not understood can be swapped at no loss: the gap is the first sign of a beat to come. Tempo and
    drums are looked for in the first codebook and its hits, key and melody in the others.
    """

    def __init__(self, quantiser: Quantiser, chroma: torch.nn.Module, songs: int = 24) -> None:
        self.shard = data.make_shard(quantiser, chroma, seeds.HELD_BACK, songs, 10.0)
        self.sounding = quantiser.sounding()

    @torch.no_grad()
    def __call__(self, lm: Any) -> dict[str, float | list[float]]:
        """Cross-entropy by codebook and of hits, and what wrong conditions add to it (nats)."""
        training = lm.training
        lm.eval()
        codes = self.shard.codes.long().to(lm.emb[0].weight.device)
        melodies: list[Tensor | None] = [*self.shard.lead]
        silence: list[Tensor | None] = [None] * len(melodies)

        def loss(change: Callable[[str], str] = str, heard: list[Tensor | None] = melodies) -> Tensor:
            words: list[str | None] = [change(caption) for caption in self.shard.captions]
            return losses(lm, codes, conditions(lm, words, heard), self.sounding.to(codes.device))[0].cpu()

        true = loss()
        gaps = {
            "wrong tempo": (loss(_tempo_moved) - true)[0],
            "wrong drums": (loss(_drums_flipped) - true)[CODEBOOKS],
            "wrong key": (loss(_key_moved) - true)[TONES].mean(),
            "no melody": (loss(heard=silence) - true)[TONES].mean(),
        }
        lm.train(training)
        return {
            "loss": [round(float(x), 3) for x in true],
            **{name: round(float(gap), 4) for name, gap in gaps.items()},
        }
