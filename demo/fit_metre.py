"""Fits the model of beats and bars and writes its weights (`musicgen_service/analysis/metre_weights.json`).

    python -m bench.rendered && python -m demo.fit_metre

The readings of one recording and "no beat" compete in a softmax (McFadden's conditional logit), and the likelihood of
the right ones is maximised: of synthesised songs, of the rendered scores that are for training, and of sounds without a
beat. None of them is among those that bench/ measures with. There are two models: one that knows what a network hears,
and one for where there is none.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mir_eval.beat import f_measure
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench import rendered
from demo import unmetrical
from demo.synth import SAMPLE_RATE, Synthesiser, seeds
from demo.synth.drums import add_hit
from musicgen_service.analysis import beats, metre, metre_model
from musicgen_service.analysis.envelopes import envelopes, mono
from musicgen_service.analysis.metre_model import Weights
from musicgen_service.models import packaged
from musicgen_service.models.beatnet import BeatNet
from musicgen_service.models.catalogue import BEATNET

Array = NDArray[np.float64]
SEEDS = tuple(seeds.BEAT_TRACKER + number for number in range(500))
SOUNDS = tuple(range(250))  # without a beat
SHRINKAGE, NO_BEAT_SHRINKAGE = 3e-3, 1e-3  # L2 penalties on scaled weights, of their distance from where they start
RENDERED_WEIGHT = 4.0  # of a rendered score, which is nearer to what people play, beside that of a synthesised song
NO_BEAT_WEIGHT = 2.0  # of a sound without one
FOLDS = 3  # of the cross-validation that gives the calibration
BARS_PER_CHORD = {0.5: 0.15, 1.0: 0.45, 2.0: 0.30, 4.0: 0.10}  # and the share of songs with each
_RIGHT = 0.9  # F-measure of beats and of downbeats from which a reading is right
_BEATS_RIGHT = 0.8  # F-measure of beats from which a confidence in them was justified
PLACE = Path(metre_model.__file__).with_name("metre_weights.json")


class Truth(NamedTuple):
    """What is known of a recording: its beats and downbeats in seconds, and its metre; no beats where there is none."""

    beats: Array
    downbeats: Array
    metre: str
    any_bar: bool = False
    """Whether nothing tells where bars begin."""


class Recording(NamedTuple):
    """A recording to learn from: how much it counts, what is known, and its sound."""

    weight: float
    truth: Truth
    samples: NDArray[np.float32]
    rate: int


class Example(NamedTuple):
    """The readings of one recording.

    Attributes
    ----------
    evidence : ``[readings, features]``
    beats : which of the possible beats each reading has, ``[readings]``
    right : whether it is right, ``[readings]``
    beats_right : whether possible beats are, ``[beats]``
    features : of the recording
    has_beat : whether it has one
    weight : how much it counts
    """

    evidence: NDArray[np.float32]
    beats: NDArray[np.int64]
    right: NDArray[np.bool_]
    beats_right: NDArray[np.bool_]
    features: Array
    has_beat: bool
    weight: float


def song(seed: int) -> Recording:
    """A song, often without drums, sometimes drums or a metronome alone."""
    random = np.random.default_rng(seed)
    seconds = float(random.choice([5, 10, 20, 30]))
    bpm = float(random.uniform(60, 180)) if random.random() < 0.7 else None
    metronome, drums_only = random.random() < 0.05, random.random() < 0.1
    beats_per_bar = 4 if metronome or random.random() < 0.88 else 3
    bars_per_chord = float(random.choice(list(BARS_PER_CHORD), p=list(BARS_PER_CHORD.values())))
    made = Synthesiser().song(
        seed,
        seconds,
        start=0.0 if random.random() < 0.4 else random.uniform(0, 20),
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
    truth = Truth(made.beats, made.downbeats, f"{made.beats_per_bar}/4", metronome)
    return Recording(1.0, truth, np.asarray(audio, np.float32), SAMPLE_RATE)


def score(clip: rendered.Clip) -> Recording:
    """A rendered score."""
    audio = clip.audio()
    names = {kind.beats: kind.name for kind in metre.METRES if not kind.is_compound}
    name = clip.metre if clip.metre == "6/8" else names[clip.beats_per_bar]
    return Recording(RENDERED_WEIGHT, Truth(clip.beats, clip.downbeats, name), audio.mono, audio.rate)


def sound(seed: int) -> Recording:
    """A sound without a beat."""
    return Recording(NO_BEAT_WEIGHT, Truth(np.zeros(0), np.zeros(0), ""), unmetrical.sound(seed), SAMPLE_RATE)


def examples(recording: Recording) -> tuple[Example | None, Example | None]:
    """What a recording teaches with the network, and without it; None where it has no pulse at all."""
    audio = mono(recording.samples, recording.rate)
    alone = envelopes(audio)
    network = beats.activations(_network().hear(audio), alone.shape[1])
    seconds = recording.samples.shape[-1] / recording.rate
    return _example(np.concatenate([alone, network]), recording, seconds), _example(alone, recording, seconds)


@cache
def _network() -> BeatNet:
    return BeatNet(packaged.files(BEATNET))


def _example(rows: Array, recording: Recording, seconds: float) -> Example | None:
    possible, truth = beats.possible(rows), recording.truth
    if not possible:
        return None
    near = [f_measure(truth.beats, beats.inside(grid.frames, seconds)) for grid in possible]
    readings = [(number, reading) for number, grid in enumerate(possible) for reading in metre.readings(grid)]
    right = [near[number] > _RIGHT and _is_right(reading, truth, seconds) for number, reading in readings]
    has_beat = len(truth.beats) > 0
    wide = metre.widened(rows)
    return Example(
        np.concatenate([metre.evidence(wide, grid) for grid in possible]).astype(np.float32),
        np.array([number for number, _ in readings]),
        np.array(right),
        np.array(near) > _BEATS_RIGHT,
        metre_model.features(rows, possible),
        has_beat,
        recording.weight,
    )


def _is_right(reading: metre.Reading, truth: Truth, seconds: float) -> bool:
    """Whether bars are right where beats are."""
    if truth.any_bar:
        return True
    found = beats.inside(reading.downbeats, seconds)
    return reading.metre.name == truth.metre and f_measure(truth.downbeats, found) > _RIGHT


def fit(examples: Sequence[Example], start: Weights) -> Weights:
    """Fit the weights that maximise the likelihood of the right readings, and then their calibration."""
    parts = [examples[number::FOLDS] for number in range(FOLDS)]
    shares, hits = [], []
    for number, held in enumerate(parts):
        weights = _fit([e for other, part in enumerate(parts) if other != number for e in part], start)
        for e in held:
            by_beats = np.bincount(e.beats, metre_model.softmax(weights, e.evidence, e.features)[0])
            if e.has_beat:
                shares.append(by_beats.max())
                hits.append(e.beats_right[by_beats.argmax()])
    return _fit(examples, start)._replace(calibration=_calibration(np.array(shares), np.array(hits)))


def _fit(examples: Sequence[Example], start: Weights) -> Weights:
    """Fit all but the calibration; examples in which no reading is right teach nothing."""
    examples = [e for e in examples if e.right.any() or not e.has_beat]
    evidence = np.concatenate([e.evidence for e in examples])
    features = np.array([e.features for e in examples])
    right = np.concatenate([e.right for e in examples])
    has_none = np.array([float(not e.has_beat) for e in examples])
    weight = np.array([e.weight for e in examples]) / sum(e.weight for e in examples)
    sizes = [len(e.right) for e in examples]
    starts, owner = np.concatenate([[0], np.cumsum(sizes)[:-1]]), np.repeat(np.arange(len(examples)), sizes)
    spread = evidence.std(axis=0) + 1e-6
    # All but the first, which is constant, are scaled and centred.
    centre, own_spread = np.append(0, features[:, 1:].mean(axis=0)), np.append(1, features[:, 1:].std(axis=0))
    evidence /= spread
    features = (features - centre) / own_spread
    count = evidence.shape[1]
    origin = np.concatenate([start.readings * spread, np.zeros(features.shape[1])])
    shrinkage = np.where(np.arange(len(origin)) < count, SHRINKAGE, NO_BEAT_SHRINKAGE)

    def loss(weights: Array) -> tuple[float, Array]:
        scores, none = evidence @ weights[:count].astype(np.float32), features @ weights[count:]
        highest = np.maximum(np.maximum.reduceat(scores, starts), none)
        likelihood, none = np.exp(scores - highest[owner]), np.exp(none - highest)
        total = np.add.reduceat(likelihood, starts) + none
        hits = np.add.reduceat(likelihood * right, starts) + none * has_none + 1e-12
        slope = (likelihood / total[owner] - likelihood * right / hits[owner]) * weight[owner]
        own_slope = (none / total - none * has_none / hits) * weight
        gradient = np.concatenate([slope.astype(np.float32) @ evidence, own_slope @ features])
        away = weights - origin
        value = float(np.log(total / hits) @ weight) + float(shrinkage @ away**2)
        return value, gradient + 2 * shrinkage * away

    found = minimize(loss, origin, jac=True, method="L-BFGS-B", options={"maxiter": 150}).x
    no_beat = found[count:] / own_spread
    no_beat[0] -= no_beat[1:] @ centre[1:]
    return Weights(found[:count] / spread, no_beat, start.calibration)


def _calibration(shares: Array, hits: NDArray[np.bool_]) -> Array:
    """Fit slope and offset of Platt's logistic regression."""
    odds = metre_model.log_odds(shares)

    def loss(line: Array) -> float:
        expected = line[0] * odds + line[1]
        return float(np.logaddexp(0, np.where(hits, -expected, expected)).mean())

    result: Array = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return result


def recordings() -> Iterator[Recording]:
    """All recordings to learn from."""
    yield from map(song, SEEDS)
    yield from map(score, rendered.load(rendered.TRAINING))
    yield from map(sound, SOUNDS)


def main() -> None:
    """Fit both models and write their weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    started = metre_model.weights()
    with Pool(options.processes) as pool:
        learned = list(pool.imap(examples, recordings(), chunksize=8))
    found = {}
    for number, name in enumerate(metre_model.MODELS):
        usable = [both[number] for both in learned]
        found[name] = fit([e for e in usable if e], started[name])
    write(found)


def write(found: dict[str, Weights]) -> None:
    """Write the weights of both models."""
    rounded = {
        name: {part: [round(float(n), 4) for n in numbers] for part, numbers in weights._asdict().items()}
        for name, weights in found.items()
    }
    PLACE.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
