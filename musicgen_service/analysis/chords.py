"""Chords of a recording: their types, decoding over beats, and a recogniser of triads that needs no weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import beats, key
from musicgen_service.analysis.chord_labels import NO_CHORD, TRIADS, pitch_classes
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.analysis.pitch import LOWEST, NOTE_NAMES, PITCH_RATE, fold, levels, tuning_of

Array = NDArray[np.float64]
LABELS = (*TRIADS, NO_CHORD)
"""The labels that `recognise` distinguishes."""
_SILENCE = 1e-5  # of the peak: -100 dB
_SHORTEST_SECONDS = 0.5
_SPAN = 0.5  # seconds that are taken together where there is no beat
_NO_CHORD = 0.60  # similarity below which drums, noise or a single voice is no chord; triads reach 0.6 to 0.9
_SHARPNESS = 20.0  # of similarities as logarithms of probability
_CHANGE, _CHANGE_AT_BAR = 2.0, 1.0  # what a change of chord costs between bars, and at the beginning of one
_CHANGE_WITHOUT_BEAT = 8.0  # what it costs where there is no beat: of speech, single words sound like chords
_CENTRE, _SPREAD, _LOWEST_TREBLE, _BASS_TOP = 58, 11, 45, 52  # MIDI: where chords are played, and basses
_CONTRAST = 1.3  # loud notes count for more than their logarithmic level
_BASS_WEIGHT = 0.15
_CANDIDATES = 4  # that are named for a chord
_MIN_SHARE = 0.01  # of probability that a candidate has
_CLEAR_KEY = 0.2  # confidence below which there may be no key: speech with a steady pitch reaches 0.16


class ChordSegment(NamedTuple):
    """A chord and when it sounds, in seconds; the label is one of `chord_labels.LABELS`."""

    start: float
    end: float
    label: str


Candidates = Sequence[tuple[str, float]]
"""Names with the probability of each, the most probable first."""


@dataclass(frozen=True)
class Harmony:
    """The chords and the key of a recording.

    Attributes
    ----------
    chords : segments that follow each other from 0 to the end; none for no samples at all
    candidates : of each chord the labels that explain it best, which mostly begin with its own
    keys : see `key.rank`; none where no pitches are heard
    """

    chords: list[ChordSegment]
    candidates: list[Candidates] = field(default_factory=list)
    keys: Candidates = ()

    @property
    def clear_key(self) -> str | None:
        """The likeliest key, such as "F# minor"; None where there may be none."""
        return next((name for name, confidence in self.keys[:1] if confidence >= _CLEAR_KEY), None)


class ChordRecogniser(Protocol):
    """Recognises the chords and the key of a recording."""

    def __call__(self, samples: np.ndarray, sample_rate: int, grid: beats.BeatGrid, /) -> Harmony:
        """See `recognise`, which is one."""
        ...


def recognise(samples: np.ndarray, sample_rate: int, grid: beats.BeatGrid | None = None) -> Harmony:
    """Recognise major and minor chords and the key, without trained weights.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    grid : its beats, if they are known already
    """
    audio = mono(samples, sample_rate)
    if (nothing := trivial_harmony(audio)) is not None:
        return nothing
    grid = beats.track(samples, sample_rate) if grid is None else grid
    edges, costs = spans(grid, len(audio) / RATE)
    means = span_levels(audio, edges, tuning_of(audio, RATE))
    similar = similarity(means)
    scores = _SHARPNESS * np.concatenate([similar, np.full((1, similar.shape[1]), _NO_CHORD)])
    path = decode(scores, costs)
    # The key is decoded without "no chord": what is too unclear for a chord is still evidence for a key.
    triads = decode(scores[:-1], costs)
    lengths = sounding(audio, edges)
    keys = key.rank(
        np.bincount(triads, lengths, len(TRIADS)) / lengths.sum(),
        TRIADS[triads[int((lengths > 0).argmax())]],
        [pitch_class_levels(means, lengths)],
        float(lengths[path < len(TRIADS)].sum() / lengths.sum()),
    )
    return build_harmony(np.exp(scores - scores.max(axis=0)), path, edges, LABELS, keys)


def trivial_harmony(audio: NDArray[np.float32]) -> Harmony | None:
    """Return the harmony of audio at RATE that is silent or too short for chords; None for any other audio."""
    seconds = len(audio) / RATE
    if seconds == 0:
        return Harmony([])
    if seconds < _SHORTEST_SECONDS or not audio.any():
        return Harmony([ChordSegment(0.0, seconds, NO_CHORD)], [[(NO_CHORD, 1.0)]])
    return None


def build_harmony(
    likelihoods: Array, path: NDArray[np.int64], edges: Array, labels: Sequence[str], keys: Candidates
) -> Harmony:
    """Build the harmony from decoded spans.

    Parameters
    ----------
    likelihoods : proportional to the probability of each label in each span, ``[labels, spans]``
    path : the decoded label of each span, ``[spans]``
    edges : seconds at which spans begin and end, ``[spans + 1]``
    """
    likely = likelihoods / np.maximum(likelihoods.sum(axis=0), 1e-9)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    chords: list[ChordSegment] = []
    candidates: list[Candidates] = []
    for first, end in zip(starts, [*starts[1:], len(path)], strict=True):
        chords.append(ChordSegment(float(edges[first]), float(edges[end]), labels[path[first]]))
        shares = likely[:, first:end] @ np.diff(edges[first : end + 1]) / (edges[end] - edges[first])
        best = [int(place) for place in np.argsort(-shares)[:_CANDIDATES] if shares[place] >= _MIN_SHARE]
        candidates.append([(labels[place], float(shares[place])) for place in best])
    return Harmony(chords, candidates, keys)


def chroma(
    segments: list[ChordSegment], frames: int = 235, seconds: float = 30.0, coefficient: float = 1.0
) -> NDArray[np.float32]:
    """What the melody checkpoints take for chords: the pitch classes of each frame's chord.

    Parameters
    ----------
    segments : chords, from the time 0 on; what they do not cover has none
    frames, seconds : number of frames and the time they cover together
    coefficient : the value of a sounding pitch class

    Returns
    -------
    float32 ``[12, frames]``, C first as in audiocraft's `ChromaExtractor`
    """
    result = np.zeros((12, frames), np.float32)
    centres = (np.arange(frames) + 0.5) * seconds / frames
    for segment in segments:
        inside = (centres >= segment.start) & (centres < segment.end)
        result[np.ix_(pitch_classes(segment.label), inside)] = coefficient
    return result


def spans(grid: beats.BeatGrid, seconds: float) -> tuple[Array, Array]:
    """Edges of the stretches within which no chord changes, and what a change at the beginning of each costs."""
    has_beat = len(grid.beats) > 3 and grid.confidence > 0.1
    inner = grid.beats if has_beat else np.arange(_SPAN, seconds, _SPAN)
    edges = np.concatenate([[0.0], inner[(inner > 0.1) & (inner < seconds - 0.1)], [seconds]])
    costs = np.full(len(edges) - 1, _CHANGE if has_beat else _CHANGE_WITHOUT_BEAT)
    costs[np.isin(edges[:-1], grid.downbeats) & has_beat] = _CHANGE_AT_BAR
    return edges, costs


def span_levels(audio: NDArray[np.float32], edges: Array, tuning: float) -> Array:
    """Mean level of each semitone (see `levels`) in each span, ``[semitones, spans]``, of audio at RATE."""
    return means_between(levels(audio, RATE, tuning), edges * PITCH_RATE)


def means_between(values: Array, edges: Array) -> Array:
    """Average ``[rows, frames]`` from each edge, in frames, to the next, over at least one frame: ``[rows, spans]``."""
    at = np.clip(np.round(edges).astype(int), 0, values.shape[1])
    first = np.minimum(at[:-1], values.shape[1] - 1)
    end = np.maximum(at[1:], first + 1)
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    means: Array = (total[:, end] - total[:, first]) / (end - first)
    return means


def sounding(audio: NDArray[np.float32], edges: Array) -> Array:
    """Seconds of each span in which audio at RATE is not digitally silent, as before and after a song: ``[spans]``.

    Silence tells nothing of a key.
    """
    heard = (audio > _SILENCE) | (audio < -_SILENCE)
    at = np.clip(np.round(edges * RATE).astype(int), 0, len(audio))
    seconds: Array = np.array([np.count_nonzero(heard[a:b]) for a, b in pairwise(at)]) / RATE
    return seconds


def pitch_class_levels(means: Array, lengths: Array) -> Array:
    """How much of each pitch class there is, ``[12]``, in spans of semitone levels ``[semitones, spans]``."""
    classes: Array = fold(means**_CONTRAST) @ lengths
    return classes


def similarity(pitches: Array, labels: Sequence[str] = TRIADS) -> Array:
    """How well each of some chords explains semitone levels ``[semitones, spans]``: ``[labels, spans]``."""
    midi = LOWEST + np.arange(len(pitches))
    register = np.exp(-(((midi - _CENTRE) / _SPREAD) ** 2)) * (midi >= _LOWEST_TREBLE)
    loud = pitches**_CONTRAST
    treble, bass = fold(loud * register[:, None]), fold(loud * (midi < _BASS_TOP)[:, None])
    treble = treble / np.maximum(np.linalg.norm(treble, axis=0), 1e-6)
    bass = bass / np.maximum(np.linalg.norm(bass, axis=0), 1e-6)
    notes = np.array([pitch_classes(label) for label in labels], float)
    notes /= np.linalg.norm(notes, axis=1, keepdims=True)
    roots = [NOTE_NAMES.index(label.partition(":")[0]) for label in labels]
    result: Array = notes @ treble + _BASS_WEIGHT * bass[roots]
    return result


def decode(scores: Array, costs: Array) -> NDArray[np.int64]:
    """The best sequence of states (Viterbi) where a change at the beginning of each span costs so much."""
    states, spans = scores.shape
    total, came_from = scores[:, 0].copy(), np.zeros((spans, states), int)
    for span in range(1, spans):
        leave = total.max() - costs[span]
        stays = total >= leave
        came_from[span] = np.where(stays, np.arange(states), int(np.argmax(total)))
        total = np.maximum(total, leave) + scores[:, span]
    path = np.zeros(spans, int)
    path[-1] = int(np.argmax(total))
    for span in range(spans - 1, 0, -1):
        path[span - 1] = came_from[span, path[span]]
    return path
