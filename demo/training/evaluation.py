"""Evaluation of the codec and the language model on held-back songs during training."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo import measure
from demo.synth import seeds
from demo.synth.captions import read_tempo, with_tempo
from demo.synth.styles import NOTE_NAMES
from demo.training.language_model import conditions, token_losses
from demo.training.losses import spectral_loss
from demo.training.quantiser import CODEBOOKS, Quantiser
from demo.training.shards import make_shard
from demo.training.songs import TEMPI, codec_clips

CODEC_CLIPS, CODEC_SECONDS = 8, 6.0  # an evaluation takes a few seconds, every few minutes
SONGS, SONG_SECONDS = 24, 10.0
TONES = slice(1, CODEBOOKS)  # the codebooks of tones; the first is of drums

Figures = dict[str, float | list[float]]


class CodecEvaluation:
    """Accuracy of the codec's latents, codes and audio."""

    def __init__(self, teacher: Quantiser, clips: int = CODEC_CLIPS) -> None:
        device = teacher.mean.device
        drums, others = (part.to(device) for part in codec_clips(seeds.HELD_BACK, clips, CODEC_SECONDS))
        self.clips = drums + others
        self.latent = teacher.latent(drums, others)
        self.teacher = teacher

    @torch.no_grad()
    def __call__(self, codec: Any) -> Figures:
        """Relative error of the latent, share of correct codes by codebook, and accuracy of the round trip."""
        codec.eval()
        latent = codec.encoder(self.clips[:, None]).transpose(1, 2)
        codes, _ = codec.encode(self.clips[:, None])
        decoded = codec.decode(codes)[:, 0, : self.clips.shape[-1]]
        codec.train()
        pairs = list(zip(self.clips.cpu().numpy(), decoded.cpu().numpy(), strict=True))
        return {
            "latent error": round(float((latent - self.latent).square().mean() / self.latent.square().mean()), 3),
            "codes": [round(float(x), 3) for x in (codes == self.teacher.encode(self.latent)).float().mean((0, 2))],
            "waveform error": round(float((decoded - self.clips).square().mean() / self.clips.square().mean()), 3),
            "spectral": round(float(spectral_loss(decoded, self.clips)), 3),
            "chroma": round(float(np.mean([measure.chroma_cosine(a, b) for a, b in pairs])), 3),
            "onsets": round(float(np.mean([measure.onset_correlation(a, b) for a, b in pairs])), 3),
        }


class ConditioningEvaluation:
    """Losses on songs, and their increase with a wrong tempo, wrong drums, a wrong key, or no melody.

    A wrong condition does not increase the loss if the model ignores it, so these gaps show that a condition has an
    effect long before it is audible. Tempo and drums are evaluated on the drums' codebook and its hits, key and melody
    on the codebooks of tones.
    """

    def __init__(self, quantiser: Quantiser, chroma: torch.nn.Module, songs: int = SONGS) -> None:
        self.shard = make_shard(quantiser, chroma, seeds.HELD_BACK, songs, SONG_SECONDS)
        self.drum_codes = quantiser.drum_codes()

    @torch.no_grad()
    def __call__(self, lm: Any) -> Figures:
        """Cross-entropy by codebook and of hits, and its increase with wrong conditions (nats)."""
        training = lm.training
        lm.eval()
        codes = self.shard.codes.long().to(lm.emb[0].weight.device)
        melodies: list[Tensor | None] = [*self.shard.lead]
        no_melodies: list[Tensor | None] = [None] * len(melodies)

        def loss(change: Callable[[str], str] = str, given: list[Tensor | None] = melodies) -> Tensor:
            captions: list[str | None] = [change(caption) for caption in self.shard.captions]
            return token_losses(lm, codes, conditions(lm, captions, given), self.drum_codes.to(codes.device))[0].cpu()

        true = loss()
        gaps = {
            "wrong tempo": (loss(_shift_tempo) - true)[0],
            "wrong drums": (loss(_flip_drums) - true)[CODEBOOKS],
            "wrong key": (loss(_transpose_key) - true)[TONES].mean(),
            "no melody": (loss(given=no_melodies) - true)[TONES].mean(),
        }
        lm.train(training)
        return {
            "loss": [round(float(x), 3) for x in true],
            **{name: round(float(gap), 4) for name, gap in gaps.items()},
        }


def _flip_drums(caption: str) -> str:
    """The caption with "no drums" replaced by drums, or vice versa."""
    if "no drums" in caption:
        return caption.replace("no drums", "with drums")
    return re.sub(r"with (soft |hard )?drums", "no drums", caption)


def _shift_tempo(caption: str) -> str:
    """Shift the tempo by nine of TEMPI (45 bpm), wrapping around."""
    bpm = read_tempo(caption)
    return caption if bpm is None else with_tempo(caption, TEMPI[(TEMPI.index(round(bpm)) + 9) % len(TEMPI)])


def _transpose_key(caption: str) -> str:
    """Transpose the key by six semitones, the largest distance."""

    def moved(match: re.Match[str]) -> str:
        names = [name.lower() for name in NOTE_NAMES]
        return f"{names[(names.index(match[1]) + 6) % 12]} {match[2]}"

    return re.sub(r"\b([a-g][b#]?) (major|minor)", moved, caption)
