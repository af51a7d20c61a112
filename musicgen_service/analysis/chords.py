"""Chords of a recording: 12 major, 12 minor and none."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import beats
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.analysis.pitch import LOWEST, NOTE_NAMES, PITCH_RATE, TRIADS, fold, levels

Array = NDArray[np.float64]
LABELS = (*(f"{name}:maj" for name in NOTE_NAMES), *(f"{name}:min" for name in NOTE_NAMES), "N")
_SPAN = 0.5  # seconds that are taken together where there is no beat
_NO_CHORD = 0.64  # similarity below which drums, noise or a single voice is no chord; triads reach 0.7 to 0.9
_SHARPNESS = 15.0  # of similarities as logarithms of probability
_CHANGE, _CHANGE_AT_BAR = 4.0, 1.0  # what a change of chord costs between bars, and at the beginning of one
_CENTRE, _SPREAD, _LOWEST_TREBLE, _BASS_TOP = 58, 11, 45, 52  # MIDI: where chords are played, and basses
_CONTRAST = 1.3  # loud notes count for more than their logarithmic level
_BASS_WEIGHT = 0.15


class ChordSegment(NamedTuple):
    """A chord and when it sounds, in seconds; the label is mir_eval's: "C:maj", "A:min" or "N" for none."""

    start: float
    end: float
    label: str


def recognise(samples: np.ndarray, sample_rate: int, grid: beats.BeatGrid | None = None) -> list[ChordSegment]:
    """Find the chords of a recording.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    grid : its beats, if they are known already

    Returns
    -------
    Segments that follow each other from 0 to the end; none for no samples at all
    """
    seconds = np.shape(samples)[-1] / sample_rate
    audio = mono(samples, sample_rate)
    if seconds == 0:
        return []
    if seconds < _SPAN or not audio.any():
        return [ChordSegment(0.0, seconds, "N")]
    grid = beats.track(samples, sample_rate) if grid is None else grid
    edges, is_bar = _spans(grid, seconds)
    pitches = levels(audio, RATE)
    frames = np.clip(np.round(edges * PITCH_RATE).astype(int), 0, pitches.shape[1])
    total = np.cumsum(np.pad(pitches, ((0, 0), (1, 0))), axis=1)
    means = (total[:, frames[1:]] - total[:, frames[:-1]]) / np.maximum(np.diff(frames), 1)
    path = _decode(_SHARPNESS * _similarity(means), is_bar)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    ends = [*starts[1:], len(path)]
    return [ChordSegment(float(edges[a]), float(edges[b]), LABELS[path[a]]) for a, b in zip(starts, ends, strict=True)]


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
        if segment.label != "N":
            sounding = TRIADS[LABELS.index(segment.label)] > 0
            inside = (centres >= segment.start) & (centres < segment.end)
            result[np.ix_(sounding, inside)] = coefficient
    return result


def _spans(grid: beats.BeatGrid, seconds: float) -> tuple[Array, NDArray[np.bool_]]:
    """Edges of the stretches within which no chord changes, and whether a bar begins at each stretch."""
    if len(grid.beats) > 3 and grid.confidence > 0.1:
        inner = grid.beats[(grid.beats > 0.1) & (grid.beats < seconds - 0.1)]
    else:
        inner = np.arange(_SPAN, seconds - 0.1, _SPAN)
    edges = np.concatenate([[0.0], inner, [seconds]])
    return edges, np.isin(edges[:-1], grid.downbeats)


def _similarity(pitches: Array) -> Array:
    """How well each of LABELS explains semitone levels ``[semitones, spans]``: ``[25, spans]``."""
    midi = LOWEST + np.arange(len(pitches))
    register = np.exp(-(((midi - _CENTRE) / _SPREAD) ** 2)) * (midi >= _LOWEST_TREBLE)
    loud = pitches**_CONTRAST
    treble, bass = fold(loud * register[:, None]), fold(loud * (midi < _BASS_TOP)[:, None])
    treble = treble / np.maximum(np.linalg.norm(treble, axis=0), 1e-6)
    bass = bass / np.maximum(np.linalg.norm(bass, axis=0), 1e-6)
    chords = TRIADS @ treble + _BASS_WEIGHT * np.concatenate([bass, bass])
    return np.concatenate([chords, np.full((1, pitches.shape[1]), _NO_CHORD)])


def _decode(scores: Array, is_bar: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The best sequence of states (Viterbi) where changing costs, and less at the beginning of a bar."""
    states, spans = scores.shape
    total, came_from = scores[:, 0].copy(), np.zeros((spans, states), int)
    for span in range(1, spans):
        leave = total.max() - (_CHANGE_AT_BAR if is_bar[span] else _CHANGE)
        stays = total >= leave
        came_from[span] = np.where(stays, np.arange(states), int(np.argmax(total)))
        total = np.maximum(total, leave) + scores[:, span]
    path = np.zeros(spans, int)
    path[-1] = int(np.argmax(total))
    for span in range(spans - 1, 0, -1):
        path[span - 1] = came_from[span, path[span]]
    return path
