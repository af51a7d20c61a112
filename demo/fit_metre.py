"""Fits the weights of the beat tracker (`musicgen_service/analysis/metre.py`) to synthesised songs and prints them.

    python -m demo.fit_metre

The readings of one song compete in a softmax (McFadden's conditional logit), and the likelihood of the right ones is
maximised. Its songs are not those that bench/ measures with (`demo.synth.seeds`).
"""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from demo.synth import SAMPLE_RATE, Song, Synthesiser, seeds
from demo.synth.drums import add_hit
from musicgen_service.analysis import beats, metre
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE, envelopes, mono

Array = NDArray[np.float64]
# The songs used to fit the shipped weights.
SEEDS = tuple(seeds.BEAT_TRACKER + number for number in (*range(800), *range(1500, 2250)))
SHRINKAGE = 1e-3  # L2 penalty on the weights of scaled features: keeps those of rare features finite
BARS_PER_CHORD = {0.5: 0.15, 1.0: 0.45, 2.0: 0.30, 4.0: 0.10}  # and the share of songs with each
_BEAT_TOLERANCE = 0.07  # seconds within which a beat is right, as in mir_eval's F-measure
_TEMPO_TOLERANCE = 0.015  # ratio within which a tempo is right: excludes its neighbours, allows for rounding to frames


class Example(NamedTuple):
    """The readings of one recording: their evidence ``[readings, features]`` and which are right."""

    evidence: Array
    right: NDArray[np.bool_]


def example(seed: int) -> Example | None:
    """A song, often without drums, sometimes drums or a metronome alone; None if no reading is right."""
    random = np.random.default_rng(seed)
    seconds = float(random.choice([5, 10, 20, 30]))
    bpm = float(random.uniform(60, 180)) if random.random() < 0.7 else None
    metronome, drums_only = random.random() < 0.05, random.random() < 0.1
    beats_per_bar = 4 if metronome or random.random() < 0.88 else 3
    bars_per_chord = float(random.choice(list(BARS_PER_CHORD), p=list(BARS_PER_CHORD.values())))
    song = Synthesiser().song(
        seed,
        seconds,
        start=0.0 if random.random() < 0.4 else random.uniform(0, 20),
        bpm=bpm,
        drums=drums_only or bool(random.random() < 0.5),
        beats_per_bar=beats_per_bar,
        bars_per_chord=bars_per_chord if beats_per_bar == 4 else max(1.0, bars_per_chord),
    )
    gains = {name: 10 ** random.uniform(-0.4, 0.2) for name in song.stems}
    audio = sum(gain * song.stems[name] for name, gain in gains.items())
    if metronome:
        audio = np.zeros_like(song.audio)
        for beat in song.beats:
            add_hit(audio, "acoustic", "hat", round(beat * SAMPLE_RATE), 1.0)
    elif drums_only:
        audio = song.stems["drums"]
    rows = envelopes(mono(np.asarray(audio, np.float32), SAMPLE_RATE))
    pulses = beats.pulses(rows)
    if not pulses:
        return None
    readings, wide = metre.readings(pulses), metre.widened(rows)
    right = np.array([_is_right(reading, song, any_bar=metronome) for reading in readings])
    return Example(np.array([metre.evidence(wide, reading) for reading in readings]), right) if right.any() else None


def _is_right(reading: metre.Reading, song: Song, any_bar: bool) -> bool:
    if abs(reading.tempo / song.bpm - 1) > _TEMPO_TOLERANCE or reading.beats_per_bar != song.beats_per_bar:
        return False
    times, truth = reading.beats / FRAME_RATE, song.beats
    if not any_bar:
        times, truth = times[reading.first_downbeat :: reading.beats_per_bar], song.downbeats
    if not len(truth) or not len(times):
        return False
    return bool(np.median(np.abs(truth[:, None] - times).min(axis=1)) < _BEAT_TOLERANCE)


def fit(examples: list[Example]) -> Array:
    """Fit the weights ``[features]`` that maximise the likelihood of the right readings."""
    evidence = np.concatenate([e.evidence for e in examples])
    right = np.concatenate([e.right for e in examples])
    sizes = [len(e.right) for e in examples]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    song = np.repeat(np.arange(len(examples)), sizes)
    spread = evidence.std(axis=0) + 1e-6
    scaled = evidence / spread

    def loss(weights: Array) -> tuple[float, Array]:
        scores = scaled @ weights
        likelihood = np.exp(scores - np.maximum.reduceat(scores, starts)[song])
        total = np.add.reduceat(likelihood, starts)
        hits = np.add.reduceat(likelihood * right, starts) + 1e-12
        gradient = (likelihood / total[song] - likelihood * right / hits[song]) @ scaled / len(examples)
        value = float(np.log(total / hits).mean())
        return value + SHRINKAGE * float(weights @ weights), gradient + 2 * SHRINKAGE * weights

    return minimize(loss, np.zeros(evidence.shape[1]), jac=True, method="L-BFGS-B").x / spread


def main() -> None:
    """Fit the weights and print them in the form used in `metre.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=len(SEEDS))
    songs = parser.parse_args().songs
    examples = [e for e in map(example, SEEDS[:songs]) if e]
    weights = fit(examples)
    at = 0
    np.set_printoptions(suppress=True, floatmode="fixed", precision=2)
    for beats_per_bar in metre.METRES:
        size = metre.KINDS[beats_per_bar] * len(BANDS)
        print(f"{beats_per_bar}:\n{np.array2string(weights[at : at + size].reshape(-1, len(BANDS)), separator=', ')}")
        at += size
    print(f"rest: {np.array2string(weights[at:], separator=', ')}\n{len(examples)} of {songs} songs")


if __name__ == "__main__":
    main()
