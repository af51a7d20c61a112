"""Training data of the codec and the language model: clips and songs from the seeds in `demo.synth.seeds`."""

import numpy as np
import torch
from torch import Tensor

from demo.synth import FRAME, SAMPLE_RATE, Song, Synthesiser, seeds
from demo.synth.styles import STYLES

TEMPI = tuple(range(60, 181, 5))
"""Beats per minute of the language model's songs; other tempi in prompts are mapped to the nearest of these."""
BEATS_PER_BAR = 4  # always, so that the length of a bar follows from the tempo alone
FRAME_RATE = SAMPLE_RATE // FRAME


def codec_clips(first_seed: int, count: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Clips from any position in any song, as drums and everything else, ``[count, samples]`` each.

    A fifth of the clips has only some of the stems, so that the codec also learns single instruments; 30 % are louder
    or softer than the songs. A fifth has onsets off the frame grid, as in other music.
    """
    drums, others = [], []
    for seed in range(first_seed, first_seed + count):
        random = np.random.default_rng(seed)
        start = _random_start(random)
        stems = Synthesiser(snap=random.random() < 0.8).song(seeds.CODEC + seed, seconds, start=start).stems
        if random.random() < 0.2:
            kept = [name for name, stem in stems.items() if random.random() < 0.5 and stem.any()] or list(stems)
            stems = {name: stem * np.float32(name in kept) for name, stem in stems.items()}
        gain = np.float32(1 if random.random() < 0.7 else random.uniform(0.4, 1.3))
        drums.append(stems["drums"] * gain)
        others.append(np.sum([stem for name, stem in stems.items() if name != "drums"], axis=0) * gain)
    return torch.from_numpy(np.stack(drums)), torch.from_numpy(np.stack(others))


def language_song(seed: int, seconds: float, drums: bool | None = None) -> Song:
    """A song for the language model: 4/4, one of TEMPI, onsets on the frame grid.

    Most songs begin on the first beat of a phrase, so that the position of a beat follows from the tempo; 30 % begin
    anywhere, as the context of a continuation does. Half have a tempo typical of their style, half any tempo.
    """
    random = np.random.default_rng(seed)
    style = list(STYLES)[int(random.integers(len(STYLES)))]
    low, high = STYLES[style].tempo if random.random() < 0.5 else (TEMPI[0], TEMPI[-1])
    bpm = float(np.clip(5 * round(random.uniform(low, high) / 5), TEMPI[0], TEMPI[-1]))
    start = _random_start(random) if random.random() < 0.3 else 0.0
    make = Synthesiser(snap=True).song
    return make(seed, seconds, start=start, bpm=bpm, style=style, drums=drums, beats_per_bar=BEATS_PER_BAR)


def _random_start(random: np.random.Generator) -> float:
    """A random start in seconds, up to 30, on the frame grid."""
    return round(random.uniform(0, 30) * FRAME_RATE) / FRAME_RATE
