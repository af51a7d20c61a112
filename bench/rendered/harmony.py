"""Chords of a score: named where its notes are exactly those of one, printed above it, or written to a melody."""

from collections.abc import Iterable, Sequence

from bench.rendered.score import Score, ScoreChord, ScoreNote
from musicgen_service.analysis.chord_labels import NO_CHORD, QUALITIES
from musicgen_service.analysis.pitch import NOTE_NAMES

import numpy as np

UNNAMED = "X"
"""What sounds is not exactly one chord: mir_eval leaves such time out."""
_NAMED = {
    # Of chords with the same notes, such as C6 and Am7, the bass decides; diminished sevenths and augmented triads are
    # symmetrical, and named from the bass as well.
    (root, frozenset((root + step) % 12 for step in steps)): f"{NOTE_NAMES[root]}:{quality}"
    for root in range(12)
    for quality, steps in QUALITIES.items()
}
_SUSPENDED = ("sus2", "sus4")
# Scale degrees (semitones of root above the tonic, kind, kind with a seventh, how usual it is).
_DEGREES = {
    "major": (
        (0, "maj", "maj7", 1.0),
        (2, "min", "min7", 0.5),
        (4, "min", "min7", 0.2),
        (5, "maj", "maj7", 0.8),
        (7, "maj", "7", 0.9),
        (9, "min", "min7", 0.6),
    ),
    "minor": (
        (0, "min", "min7", 1.0),
        (2, "dim", "hdim7", 0.1),
        (3, "maj", "maj7", 0.5),
        (5, "min", "min7", 0.7),
        (7, "maj", "7", 0.8),
        (8, "maj", "maj7", 0.6),
        (10, "maj", "7", 0.5),
    ),
}
_FALLING_FIFTH, _REPEATED = 0.6, -0.8  # what counts for and against a chord after another
_FREEDOM = 0.4  # of choices between chords that fit


def label_of(midi: Iterable[int], root: int | None = None) -> str | None:
    """The label of exactly these notes, preferably from `root`, otherwise from the lowest; None where none has them."""
    notes = sorted(midi)
    classes = frozenset(note % 12 for note in notes)
    if len(classes) < 3:
        return None
    if root is not None:
        return _NAMED.get((root, classes))
    lowest = notes[0] % 12
    candidates = [_NAMED[at, classes] for at in (lowest, *sorted(classes)) if (at, classes) in _NAMED]
    # A suspended chord sounds like the inversion of another: only the bass makes it one.
    if (
        candidates
        and candidates[0].partition(":")[2] in _SUSPENDED
        and not candidates[0].startswith(NOTE_NAMES[lowest])
    ):
        return None
    return candidates[0] if candidates else None


def of_notes(score: Score, step: float = 0.5) -> list[ScoreChord]:
    """The chord at every half beat, where all that sounds is exactly one; UNNAMED elsewhere, NO_CHORD in silence."""
    notes = [note for part in score.parts for note in part]
    found: list[ScoreChord] = []
    for start in np.arange(0, score.beats, step):
        sounding = [n.midi for n in notes if n.start < start + step - 1e-3 and n.end > start + 1e-3]
        label = (label_of(sounding) or UNNAMED) if sounding else NO_CHORD
        if found and found[-1].label == label:
            found[-1] = found[-1]._replace(end=float(start + step))
        else:
            found.append(ScoreChord(float(start), float(start + step), label))
    return found


def printed(score: Score) -> list[ScoreChord]:
    """The chord symbols, extended to cover the score from its first bar on."""
    symbols = list(score.symbols)
    if symbols:
        symbols[0] = symbols[0]._replace(start=0.0)
    ends = [*(symbol.start for symbol in symbols[1:]), float(score.beats)]
    return [symbol._replace(end=end) for symbol, end in zip(symbols, ends, strict=True)]


def written(score: Score, random: np.random.Generator, sevenths: float, span: float) -> list[ScoreChord]:
    """Harmonise the first part in its key, a chord every `span` beats, by the best path through diatonic chords.

    Parameters
    ----------
    sevenths : share of chords that have one

    Raises
    ------
    ValueError
        The score has no key.
    """
    if score.key is None:
        raise ValueError("no key")
    tonic, mode = score.key
    degrees = _DEGREES[mode]
    starts = np.arange(0, score.beats, span)
    fits = np.array(
        [[_fit(score.parts[0], tonic + d[0], d[1], at, at + span) + 0.5 * d[3] for d in degrees] for at in starts]
    )
    fits += _FREEDOM * random.standard_normal(fits.shape)
    fits[0, 0] += 1
    fits[-1, 0] += 2
    roots = np.array([d[0] for d in degrees])
    moves = np.where((roots[:, None] - roots[None]) % 12 == 7, _FALLING_FIFTH, 0.0)
    np.fill_diagonal(moves, _REPEATED)
    total, came = fits[0], []
    for row in fits[1:]:
        scores = total[:, None] + moves
        came.append(scores.argmax(axis=0))
        total = scores.max(axis=0) + row
    path = [int(total.argmax())]
    for best in reversed(came):
        path.append(int(best[path[-1]]))
    chords: list[ScoreChord] = []
    for at, place in zip(starts, reversed(path), strict=True):
        semitones, triad, seventh, _ = degrees[place]
        kind = seventh if random.random() < sevenths else triad
        label = f"{NOTE_NAMES[(tonic + semitones) % 12]}:{kind}"
        chords.append(ScoreChord(float(at), float(min(at + span, score.beats)), label))
    return chords


def _fit(melody: Sequence[ScoreNote], root: int, kind: str, start: float, end: float) -> float:
    """How much of a stretch of melody a chord has, less what it has not; in shares of the stretch."""
    classes = {(root + step) % 12 for step in QUALITIES[kind]}
    total = 0.0
    for note in melody:
        overlap = min(note.end, end) - max(note.start, start)
        if overlap > 0:
            total += overlap * (1 if note.midi % 12 in classes else -1)
    return 2 * total / (end - start)
