"""Training data: songs from seeds below `seeds.HELD_BACK`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo.synth import Song, Synthesiser, seeds
from demo.synth.captions import write_for_drums
from demo.synth.styles import STYLES
from demo.training.quantiser import Quantiser
from demo.training.rhythm_init import BEATS_PER_BAR
from demo.training.text_encoder import TEMPI


def codec_clips(first_seed: int, count: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Clips from anywhere in any song, as their drums and all their other sound, ``[count, samples]`` each.

    Some are a few stems only, some quieter.
    """
    drums, others = [], []
    for seed in range(first_seed, first_seed + count):
        random = np.random.default_rng(seed)
        start = round(random.uniform(0, 30) * 50) / 50
        stems = Synthesiser(snap=random.random() < 0.8).song(seeds.CODEC + seed, seconds, start=start).stems
        if random.random() < 0.2:
            kept = [name for name, stem in stems.items() if random.random() < 0.5 and stem.any()] or list(stems)
            stems = {name: stem * np.float32(name in kept) for name, stem in stems.items()}
        gain = np.float32(1 if random.random() < 0.7 else random.uniform(0.4, 1.3))
        drums.append(stems["drums"] * gain)
        others.append(np.sum([stem for name, stem in stems.items() if name != "drums"], axis=0) * gain)
    return torch.from_numpy(np.stack(drums)), torch.from_numpy(np.stack(others))


def language_song(seed: int, seconds: float, drums: bool | None = None) -> Song:
    """A song as the language model learns them: 4/4, a tempo of TEMPI, onsets on the frame grid.

    Most clips begin on the first beat of a phrase, so that a beat's place follows from the tempo; the others begin
    anywhere, as the context of a continuation does.
    """
    random = np.random.default_rng(seed)
    style = list(STYLES)[int(random.integers(len(STYLES)))]
    low, high = STYLES[style].tempo if random.random() < 0.5 else (TEMPI[0], TEMPI[-1])
    bpm = float(np.clip(5 * round(random.uniform(low, high) / 5), TEMPI[0], TEMPI[-1]))
    start = 0.0
    if random.random() < 0.3:
        start = round(random.uniform(0, 30) * 50) / 50
    make = Synthesiser(snap=True).song
    return make(seed, seconds, start=start, bpm=bpm, style=style, drums=drums, beats_per_bar=BEATS_PER_BAR)


@dataclass
class Shard:
    """Encoded songs of one length.

    Attributes
    ----------
    codes : ``[songs, CODEBOOKS, frames]``
    lead, mix : pitch class of every step of the melody prefix, ``[songs, steps]``, heard in the lead (or the chords
        where there is no lead) and in everything
    captions : one for each song
    """

    codes: Tensor
    lead: Tensor
    mix: Tensor
    captions: list[str]


@torch.no_grad()
def make_shard(
    quantiser: Quantiser,
    chroma: torch.nn.Module,
    first_seed: int,
    count: int,
    seconds: float,
    drums_alone: bool = False,
) -> Shard:
    """Synthesises and encodes `count` songs, or their drums, with the teacher's codes."""
    codes, lead, mix, captions = [], [], [], []
    for seed in range(first_seed, first_seed + count):
        song = language_song(seeds.LANGUAGE_MODEL + seed, seconds, drums_alone or None)
        drums = torch.from_numpy(song.stems["drums"])[None]
        audio = drums if drums_alone else torch.from_numpy(song.audio)[None]
        melody = torch.from_numpy(song.stems["lead" if song.lead else "chords"])[None]
        codes.append(quantiser.encode(quantiser.latent(drums, audio - drums)).short())
        lead.append(chroma(melody[:, None]).argmax(-1).byte())
        mix.append(chroma(audio[:, None]).argmax(-1).byte())
        random = np.random.default_rng(seed)
        captions.append(write_for_drums(song.bpm, song.style, random) if drums_alone else song.caption)
    return Shard(torch.cat(codes), torch.cat(lead), torch.cat(mix), captions)


SHARD_SONGS = 50
SHARD_SECONDS = (10.0, 10.0, 10.0, 20.0)  # one shard in four holds the longest clips


def drum_shards(shards: int) -> int:
    """How many shards of drums alone, all of the shortest clips, go with this many shards of songs."""
    return min(12, shards)


def shard_path(folder: Path, index: int, drums_alone: bool = False) -> Path:
    """Where a shard is kept."""
    return folder / f"{'drums' if drums_alone else 'songs'}{index:04d}.pt"


def write_shards(folder: Path, quantiser: Quantiser, chroma: torch.nn.Module, shards: int) -> None:
    """Writes shards of drums and then `shards` shards of songs, skipping those that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for drums_alone, count in ((True, drum_shards(shards)), (False, shards)):
        for index in range(count):
            path = shard_path(folder, index, drums_alone)
            if path.exists():
                continue
            seconds = SHARD_SECONDS[0] if drums_alone else SHARD_SECONDS[index % len(SHARD_SECONDS)]
            songs = round(SHARD_SONGS * SHARD_SECONDS[0] / seconds)
            first = index * SHARD_SONGS + (seeds.DRUMS_ALONE - seeds.LANGUAGE_MODEL) * drums_alone
            temporary = path.with_suffix(".tmp")
            torch.save(vars(make_shard(quantiser, chroma, first, songs, seconds, drums_alone)), temporary)
            temporary.rename(path)
