"""Fit the weights of the voices in analysis/voices.py, and measure how well melodies and basses are transcribed.

    python -m bench.fit_notes          # the figures of the weights that are there
    python -m bench.fit_notes --fit    # fit others, and print them with their figures

Fitted on the training part of bench/rendered and on songs of demo/synth; measured on the rest: F-measure of
notes whose onset is within 50 ms and whose pitch is within half a semitone (mir_eval).
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench import machine, rendered
from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from demo.synth.song import Note
from musicgen_service.analysis import voices
from musicgen_service.analysis.note_tracking import Candidates
from musicgen_service.analysis.voices import Voice
from musicgen_service.audio.reading import Audio
from musicgen_service.models import packaged, transcription
from musicgen_service.models.basic_pitch import BasicPitch
from musicgen_service.models.catalogue import BASIC_PITCH

import numpy as np
import torch
from mir_eval.transcription import precision_recall_f1_overlap
from mir_eval.util import midi_to_hz
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

VOICES = {"melody": voices.MELODY, "bass": voices.BASS}
BIAS = {"melody": 1.0, "bass": 1.5}
"""Added to the fitted bias: a note that is missed costs more than one too many."""
FIRST_SEED, SONGS, SECONDS = HELD_BACK + 45_000_000, 60, 12.0
_SAME = 0.12  # seconds within which a candidate is the note of the truth


class Example(NamedTuple):
    """A clip: its kind, whether it is held back, what may have been played in it, and what was, by voice."""

    kind: str
    held_back: bool
    heard: Candidates
    true: dict[str, list[Note]]


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--clips", type=int, default=10_000, help="use at most so many rendered ones")
    options = parser.parse_args()
    print(f"{machine.describe(torch.device('cpu'))}\n")
    examples = list(_examples(options.clips))
    for name, voice in VOICES.items():
        if options.fit:
            voice = _fitted(name, [example for example in examples if not example.held_back])
            print(f"{name}: {voice}")
        _measure(name, voice, [example for example in examples if example.held_back])


def _examples(clips: int) -> Iterator[Example]:
    network = BasicPitch(*packaged.files(BASIC_PITCH))

    def hear(samples: NDArray[np.float32], rate: int) -> Candidates:
        return transcription.hear(network, samples, rate, lambda _share: None)

    for clip in rendered.load()[:clips]:
        audio = clip.audio()
        true = {"melody": clip.melody, "bass": clip.bass}
        yield Example(clip.kind, clip.split == rendered.HELD_BACK, hear(audio.mono, audio.rate), true)
    for number in range(SONGS):
        song = Synthesiser().song(FIRST_SEED + number, SECONDS, lead=True)
        heard = hear(Audio(song.audio[None], SAMPLE_RATE).mono, SAMPLE_RATE)
        yield Example("synthesised", number % 3 == 0, heard, {"melody": song.melody, "bass": []})


def _fitted(name: str, examples: Sequence[Example]) -> Voice:
    rows, labels = [], []
    for example in examples:
        if example.true[name]:
            evidence = voices.evidence(example.heard)
            rows.append(np.stack([*evidence.values()], axis=1))
            labels.append(_labels(example.heard, example.true[name]))
    fit = LogisticRegression(C=10, max_iter=3000).fit(np.concatenate(rows), np.concatenate(labels))
    weights = dict(zip(evidence, fit.coef_[0].round(2).tolist(), strict=True))
    return Voice(weights, round(float(fit.intercept_[0]) + BIAS[name], 2))


def _labels(heard: Candidates, true: Sequence[Note]) -> NDArray[np.bool_]:
    """Which candidates are notes of the truth: each of these the clearest candidate of its pitch near its onset."""
    labels = np.zeros(len(heard.starts), bool)
    taken = set()
    for index in np.argsort(-heard.body):
        near = [
            (abs(heard.starts[index] - note.start), number)
            for number, note in enumerate(true)
            if note.midi == heard.pitches[index]
            and abs(heard.starts[index] - note.start) < _SAME
            and number not in taken
        ]
        if near:
            taken.add(min(near)[1])
            labels[index] = True
    return labels


def _measure(name: str, voice: Voice, examples: Sequence[Example]) -> None:
    by_kind: dict[str, list[tuple[float, float, float]]] = {}
    for example in examples:
        if example.true[name]:
            odds = voices.log_odds(voices.evidence(example.heard), voice)
            chosen = voices.chain(example.heard, odds)
            found = np.stack([example.heard.starts[chosen], example.heard.ends[chosen]], axis=1)
            scores = _scores(found, example.heard.pitches[chosen], example.true[name])
            by_kind.setdefault(example.kind, []).append(scores)
    print(f"{name:24}{'clips':>7}{'precision':>11}{'recall':>8}{'F':>7}{'median F':>10}")
    for kind, rows in by_kind.items():
        means, median = np.mean(rows, axis=0), np.median(rows, axis=0)[2]
        print(f"{kind:24}{len(rows):7}{means[0]:11.2f}{means[1]:8.2f}{means[2]:7.2f}{median:10.2f}")
    print()


def _scores(found: NDArray[np.float64], pitches: NDArray[np.int64], true: Sequence[Note]) -> tuple[float, float, float]:
    """Precision, recall and F-measure of notes ``[notes, start and end]`` with these pitches."""
    if not len(found):
        return 0.0, 0.0, 0.0
    spans = np.array([(note.start, note.end) for note in true])
    known = midi_to_hz(np.array([float(note.midi) for note in true]))
    scores = precision_recall_f1_overlap(
        spans, known, found, midi_to_hz(pitches.astype(float)), onset_tolerance=0.05, offset_ratio=None
    )
    return float(scores[0]), float(scores[1]), float(scores[2])


if __name__ == "__main__":
    main()
