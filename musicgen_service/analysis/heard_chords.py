"""From the frame-wise output of a chord network to chords over beats, and a key."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import beats, chords, key
from musicgen_service.analysis.chord_labels import LABELS, NO_CHORD, TRIADS, pitch_classes, triad_shares
from musicgen_service.analysis.chords import Harmony
from musicgen_service.analysis.envelopes import RATE

_FLOOR = 0.01  # probability that a label keeps where the network excludes it
_TRIAD_SHARES = triad_shares()
# Fitted on rendered scores (bench/rendered, the part for training).
_TRUST = 2.0  # in the network, beside the levels of semitones
_SHARPNESS = 25.0  # of the levels, as logarithms of probability
_FOUR_NOTES = 0.5  # in favour of chords of four notes, most of which the network calls triads
_NO_CHORD = 2.0  # in favour of none: the network hears chords in some melodies and voices
_FAVOUR = np.array(
    [[_NO_CHORD if label == NO_CHORD else _FOUR_NOTES * (pitch_classes(label).sum() == 4)] for label in LABELS]
)
_FAINT, _CLEAR = 0.25, 0.65  # mean of the strongest pitch class without any key, and with one that nobody doubts


class HeardChords(NamedTuple):
    """Output of a chord network.

    Attributes
    ----------
    probabilities : of each of `chord_labels.LABELS` in each frame, float ``[labels, frames]``
    pitches : probability that each pitch class sounds, float ``[12, frames]``, C first
    frame_rate : frames a second; frame i is centred at i / frame_rate
    tuning : of the recording, in semitones above concert pitch
    """

    probabilities: np.ndarray
    pitches: np.ndarray
    frame_rate: float
    tuning: float


def to_harmony(heard: HeardChords, audio: NDArray[np.float32], grid: beats.BeatGrid) -> Harmony:
    """Decode chords over beats, and the key.

    The network decides between chords and none. Which chord it is, is decided by the network and by the levels of
    semitones (`chords.similarity`) together: of synthesised songs, the network alone has 96 % of the triads right, the
    levels 99.5 %.

    Parameters
    ----------
    audio : the same recording at RATE, ``[samples]``, peak 1
    grid : its beats
    """
    edges, costs = chords.spans(grid, len(audio) / RATE)
    means = chords.span_levels(audio, edges, heard.tuning)
    similar = chords.similarity(means, LABELS[:-1])
    frames = edges * heard.frame_rate
    # Beside the best triad; of "no chord" the levels say nothing.
    by_levels = _SHARPNESS * np.pad(similar - similar[: len(TRIADS)].max(axis=0), ((0, 1), (0, 0)))
    scores = _TRUST * chords.means_between(np.log(heard.probabilities + _FLOOR), frames) + _FAVOUR + by_levels
    likelihoods = chords.means_between(heard.probabilities, frames) * np.exp(_FAVOUR + by_levels)
    path = chords.decode(scores, costs)
    lengths = chords.sounding(audio, edges)
    triads = _TRIAD_SHARES[:, path]
    begun = triads[:, triads.any(axis=0)][:, :1]
    count = heard.pitches.shape[1]
    weights = chords.sounding(audio, (np.arange(count + 1) - 0.5) / heard.frame_rate)
    pitches = heard.pitches @ weights / max(float(weights.sum()), 1e-9)
    keys = key.rank(
        triads @ lengths / lengths.sum(),
        TRIADS[int(begun.argmax())] if begun.any() else None,
        [pitches, chords.pitch_class_levels(means, lengths)],
        float(np.clip((pitches.max() - _FAINT) / (_CLEAR - _FAINT), 0, 1)),
    )
    return chords.build_harmony(likelihoods, path, edges, LABELS, keys)
