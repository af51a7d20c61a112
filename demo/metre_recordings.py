"""Recordings from which the model of beats and bars learns, each with its beats, its metre, or without a beat.

They are synthesised songs, grooves, rendered scores of the training part, and sounds without a beat; whole, cut to
short parts, and as loops of whole bars. None of them is among those that bench/ measures with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench import rendered
from bench.rendered import making
from bench.rendered.midi import RATE as GROOVE_RATE
from demo import grooves, unmetrical
from demo.synth import SAMPLE_RATE, Synthesiser, seeds
from demo.synth.drums import add_hit
from musicgen_service.analysis import metre

Array = NDArray[np.float64]
SONGS, GROOVES, SOUNDS, SCORES = 480, 1000, 480, 1200
FOLDS, PARTS, NETWORKS = 5, 3, 6
SHORT = (1.5, 9.0)  # seconds
_USUAL_TEMPO, _SPREAD = 112.0, 0.28  # of songs, and the deviation of its logarithm
_BARS_PER_CHORD = {0.5: 0.15, 1.0: 0.45, 2.0: 0.30, 4.0: 0.10}  # and the share of songs with each
_LOOP_BARS = (1, 2, 2, 4)
WEIGHTS = {"song": 3.0, "groove": 1.0, "score": 2.5, "part": 1.25, "sound": 2.0}
"""Kinds of recordings, and how much each counts: "part" is a short part of a score."""


@dataclass(frozen=True)
class Recording:
    """A recording to learn from.

    Attributes
    ----------
    samples : float32 ``[samples]``
    rate : samples per second
    beats, downbeats : seconds; none where it has no beat
    metre : its name
    fold : of the cross-validation
    any_bar : whether nothing tells where bars begin
    """

    samples: NDArray[np.float32]
    rate: int
    beats: Array
    downbeats: Array
    metre: str
    fold: int
    any_bar: bool = False


class Maker(NamedTuple):
    """A recording that can be made: its kind and number, and a function that makes it."""

    kind: str
    number: int
    make: Callable[[], Recording]


def makers() -> Iterator[Maker]:
    """All recordings.

    Raises
    ------
    FileNotFoundError
        Some of the rendered scores have not been made.
    """
    clips = {int(clip.name): clip for clip in rendered.load(rendered.TRAINING)}
    scores = [number for number in range(SCORES) if making.split(number) == rendered.TRAINING]
    if not clips.keys() >= set(scores):
        command = f"python -m bench.rendered --clips {SCORES} --split {rendered.TRAINING}"
        raise FileNotFoundError(f"some of the first {SCORES} clips are missing: run `{command}`")
    for kind, make, count in (("song", song, SONGS), ("groove", groove, GROOVES), ("sound", sound, SOUNDS)):
        for number in range(count):
            yield Maker(kind, number, partial(make, number))
    for number in scores:
        yield Maker("score", number, partial(score, clips[number]))
        yield Maker("part", number, partial(part_of_score, clips[number]))


def song(number: int) -> Recording:
    """A song, often without drums, sometimes drums or a metronome alone, sometimes a loop of it."""
    seed = seeds.BEAT_TRACKER + number
    random = np.random.default_rng(seed)
    seconds = float(random.choice([3, 5, 10, 20, 30]))
    tempi = (float(_USUAL_TEMPO * np.exp(_SPREAD * random.standard_normal())), float(random.uniform(60, 180)), None)
    bpm = tempi[int(random.choice(3, p=[0.35, 0.35, 0.3]))]
    metronome, drums_only = random.random() < 0.04, random.random() < 0.1
    beats_per_bar = 4 if metronome or random.random() < 0.88 else 3
    bars_per_chord = float(random.choice(list(_BARS_PER_CHORD), p=list(_BARS_PER_CHORD.values())))
    start = 0.0 if random.random() < 0.4 else random.uniform(0, 20)
    if bpm and random.random() < 0.2:
        bpm = float(np.clip(bpm, 60, 180))
        bar = beats_per_bar * 60 / bpm
        start, seconds = bar * int(random.integers(0, 8)), bar * int(random.choice(_LOOP_BARS))
    made = Synthesiser().song(
        seed,
        seconds,
        start=start,
        bpm=bpm,
        drums=drums_only or bool(random.random() < 0.5),
        beats_per_bar=beats_per_bar,
        bars_per_chord=bars_per_chord if beats_per_bar == 4 else max(1.0, bars_per_chord),
    )
    gains = {name: 10 ** random.uniform(-0.4, 0.2) for name in made.stems}
    audio = sum(gain * made.stems[name] for name, gain in gains.items())
    if metronome:
        audio = np.zeros_like(made.audio)
        for beat in made.beats:
            add_hit(audio, "acoustic", "hat", round(beat * SAMPLE_RATE), 1.0)
    elif drums_only:
        audio = made.stems["drums"]
    samples = np.asarray(audio, np.float32)
    kind = f"{made.beats_per_bar}/4"
    return Recording(samples, SAMPLE_RATE, made.beats, made.downbeats, kind, number % FOLDS, metronome)


def groove(number: int) -> Recording:
    """A groove; see `demo.grooves`."""
    made = grooves.groove(seeds.BEAT_TRACKER + number)
    return Recording(made.samples, GROOVE_RATE, made.beats, made.downbeats, made.metre, number % FOLDS)


def score(clip: rendered.Clip) -> Recording:
    """A rendered score."""
    audio = clip.audio()
    return Recording(audio.mono, audio.rate, clip.beats, clip.downbeats, _metre(clip), _fold(clip))


def part_of_score(clip: rendered.Clip) -> Recording:
    """A short part of a rendered score."""
    audio, random = clip.audio(), np.random.default_rng(int(clip.name))
    seconds = float(random.uniform(*SHORT))
    start = float(random.uniform(0, max(audio.seconds - seconds, 0.0)))
    samples = audio.mono[round(start * audio.rate) : round((start + seconds) * audio.rate)]
    beats, downbeats = (
        times[(times >= start) & (times < start + len(samples) / audio.rate - 0.03)] - start
        for times in (clip.beats, clip.downbeats)
    )
    return Recording(samples, audio.rate, beats, downbeats, _metre(clip), _fold(clip))


def sound(number: int) -> Recording:
    """A sound without a beat, every other one short."""
    samples, random = unmetrical.sound(number), np.random.default_rng(number)
    if random.random() < 0.5:
        samples = samples[: round(random.uniform(*SHORT) * SAMPLE_RATE)]
    return Recording(samples, SAMPLE_RATE, np.zeros(0), np.zeros(0), "", number % FOLDS)


def networks_of(fold: int) -> slice:
    """The networks that do not learn from the recordings of a fold: as many for each of PARTS parts of the folds."""
    return slice(fold * PARTS // FOLDS, NETWORKS, PARTS)


def _fold(clip: rendered.Clip) -> int:
    """Scores with the same pattern of drums, or without one by the same composer, are in the same fold."""
    return crc32((clip.feel or clip.composer).encode()) % FOLDS


def _metre(clip: rendered.Clip) -> str:
    return clip.metre if clip.metre == "6/8" else _names()[clip.beats_per_bar]


@cache
def _names() -> dict[int, str]:
    return {kind.beats: kind.name for kind in metre.METRES if not kind.is_compound}
