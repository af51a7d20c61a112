"""Accuracy of beat, key and chord analysis, measured on synthesised songs not used for fitting.

Songs are in every style and start at any point; half have no drums, half have a tempo drawn evenly from 60 to
180 bpm instead of their style's, and one in eight is in 3/4. Beats are compared over the full clip: mir_eval's
convention of leaving out the first five seconds is not followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from demo.measure import relative_key
from demo.synth import HELD_BACK, SAMPLE_RATE, Song, Synthesiser
from demo.synth.song import Chord
from demo.synth.styles import STYLES
from musicgen_service.analysis import chords
from musicgen_service.analysis.beats import BeatTracker
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.models import beat_tracking, chord_recognition
from musicgen_service.models.store import WeightStore

import mir_eval
import numpy as np

SECONDS, SHORT_SECONDS = 25.0, 10.0
FIRST_SEED = HELD_BACK + 40_000_000


@dataclass(frozen=True)
class Reading:
    """Scores of the analysis of one song against the ground truth, all from 0 to 1.

    Attributes
    ----------
    beats, downbeats : F-measure within 70 ms
    tempo, tempo_4_percent, tempo_octave : within 1 %, within 4 %, within 1 % or within 1 % of the half or double
    metre : whether 3/4 or 4/4 was recognised
    chords : share of the time with the right major or minor chord
    key, key_or_relative : whether the key, or its relative, was recognised
    """

    beats: float
    downbeats: float
    tempo: float
    tempo_4_percent: float
    tempo_octave: float
    metre: float
    chords: float
    key: float
    key_or_relative: float


def songs(
    count: int, seconds: float, first_seed: int = FIRST_SEED, bars_per_chord: float = 1.0
) -> Iterator[tuple[Song, bool]]:
    """Yield `count` songs, each with whether it has drums; in 3/4 a chord lasts at least one bar."""
    styles = list(STYLES)
    for index in range(count):
        random = np.random.default_rng(first_seed + index)
        drums = index % 2 == 0
        beats_per_bar = 3 if index % 16 in (5, 10) else 4
        song = Synthesiser().song(
            first_seed + index,
            seconds,
            start=random.uniform(0, 20),
            style=styles[index // 4 % len(styles)],
            bpm=random.uniform(60, 180) if index // 2 % 2 else None,
            drums=drums,
            beats_per_bar=beats_per_bar,
            bars_per_chord=bars_per_chord if beats_per_bar == 4 else max(1.0, bars_per_chord),
        )
        yield song, drums


def read(song: Song) -> Reading:
    """Analyse a song's mix and score the result."""
    grid = tracker()(song.audio, SAMPLE_RATE, None)
    harmony = recogniser()(song.audio, SAMPLE_RATE, grid)
    name = harmony.keys[0][0] if harmony.keys else ""
    ratio = grid.tempo / song.bpm
    return Reading(
        beats=mir_eval.beat.f_measure(song.beats, grid.beats),
        downbeats=mir_eval.beat.f_measure(song.downbeats, grid.downbeats),
        tempo=float(abs(ratio - 1) < 0.01),
        tempo_4_percent=float(abs(ratio - 1) < 0.04),
        tempo_octave=float(min(abs(ratio / octave - 1) for octave in (0.5, 1, 2)) < 0.01),
        metre=float(grid.beats_per_bar == song.beats_per_bar),
        chords=chord_score(song.chords, harmony.chords),
        key=float(name == song.key),
        key_or_relative=float(name in (song.key, relative_key(song.key))),
    )


@cache
def tracker() -> BeatTracker:
    """The tracker that the service uses."""
    return beat_tracking.choose(WeightStore.from_environment())


@cache
def recogniser() -> chords.ChordRecogniser:
    """The recogniser that the service uses."""
    return chord_recognition.choose()


def chord_score(true: Sequence[Chord | ChordSegment], segments: Sequence[ChordSegment]) -> float:
    """Weighted chord symbol recall over major and minor triads."""
    truth = np.array([(chord.start, chord.end) for chord in true])
    read_intervals = np.array([(segment.start, segment.end) for segment in segments])
    intervals, true_labels, read_labels = mir_eval.util.merge_labeled_intervals(
        truth,
        [chord.label for chord in true],
        *mir_eval.util.adjust_intervals(
            read_intervals, [segment.label for segment in segments], truth.min(), truth.max(), "N", "N"
        ),
    )
    right = mir_eval.chord.majmin(true_labels, read_labels)
    return float(mir_eval.chord.weighted_accuracy(right, mir_eval.util.intervals_to_durations(intervals)))


def mean(readings: list[Reading], name: str) -> float:
    """Mean of one score."""
    return float(np.mean([getattr(reading, name) for reading in readings]))
