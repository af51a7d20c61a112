"""Scores of what was heard in clips, in the measures of music information retrieval (mir_eval)."""

from collections.abc import Callable, Sequence

from bench.annotated import Annotated
from bench.readers import Heard
from musicgen_service.analysis.beats import LOW_CONFIDENCE
from musicgen_service.analysis.chord_labels import NO_CHORD

import mir_eval
import numpy as np

_TOLERANCE = 0.04  # of a tempo
_OCTAVES = (1 / 3, 1 / 2, 1, 2, 3)
_RIGHT_BEATS = 0.8  # F-measure from which beats are right, octave and phase included
_BINS = np.linspace(0, 1, 6)

Pair = tuple[Annotated, Heard]
ROWS = (
    *(
        "tempo within 4 %",
        "tempo, or an octave off",
        "beats F",
        "beats AMLt",
        "downbeats F",
        "no beat where there is none",
    ),
    *(
        "key, weighted",
        "chords, major and minor",
        "chords, sevenths",
        "no chord in tonal time",
        "chords where there are none",
    ),
    *("calibration of beats", "calibration of key"),
)


def table(pairs: Sequence[Pair]) -> dict[str, str]:
    """The figures of one collection, by the names in ROWS; those that cannot be known are left out."""
    scores: dict[str, Callable[[Annotated, Heard], float | None]] = {
        "tempo within 4 %": lambda c, h: _tempo(c, h, (1,)),
        "tempo, or an octave off": lambda c, h: _tempo(c, h, _OCTAVES),
        "beats F": beats,
        "beats AMLt": _continuity,
        "downbeats F": _downbeats,
        "no beat where there is none": _silent_beats,
        "key, weighted": key,
        "chords, major and minor": lambda c, h: chords(c, h, mir_eval.chord.majmin),
        "chords, sevenths": lambda c, h: chords(c, h, mir_eval.chord.sevenths),
        "no chord in tonal time": lambda c, h: share_without(c, h, tonal=True),
        "chords where there are none": lambda c, h: share_without(c, h, tonal=False),
    }
    rows = {}
    for name, score in scores.items():
        values = [value for clip, heard in pairs if (value := score(clip, heard)) is not None]
        if values:
            rows[name] = f"{np.mean(values):.2f} ({len(values)})"
    beats_right = [(h.confidence, _beats_right(c, h)) for c, h in pairs if h.confidence is not None and c.tempo]
    keys_right = [(h.key_confidence, float(h.key == c.key)) for c, h in pairs if h.key_confidence is not None and c.key]
    for name, readings in (("calibration of beats", beats_right), ("calibration of key", keys_right)):
        if readings:
            rows[name] = _calibration(readings)
    return rows


def line(clip: Annotated, heard: Heard) -> str:
    """The figures of one clip."""
    values = (
        f"tempo {clip.tempo or 0:.1f} {heard.tempo:.1f}",
        f"beats {_number(beats(clip, heard))}",
        f"confidence {_number(heard.confidence)}",
        f"key {clip.key} {heard.key}",
        f"chords {_number(chords(clip, heard, mir_eval.chord.majmin))}",
    )
    return f"{clip.name} ({clip.group}): " + ", ".join(values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _tempo(clip: Annotated, heard: Heard, factors: Sequence[float]) -> float | None:
    if not clip.tempo:
        return None
    return float(any(abs(heard.tempo / (clip.tempo * factor) - 1) < _TOLERANCE for factor in factors))


def beats(clip: Annotated, heard: Heard) -> float | None:
    """F-measure within 70 ms, of the whole clip."""
    return (
        None if clip.beats is None or not len(clip.beats) else float(mir_eval.beat.f_measure(clip.beats, heard.beats))
    )


def _continuity(clip: Annotated, heard: Heard) -> float | None:
    """Longest allowed metrical levels, total."""
    if clip.beats is None or not len(clip.beats):
        return None
    return float(mir_eval.beat.continuity(clip.beats, heard.beats)[3]) if len(heard.beats) > 1 else 0.0


def _downbeats(clip: Annotated, heard: Heard) -> float | None:
    if clip.downbeats is None or not len(clip.downbeats) or heard.downbeats is None:
        return None
    return float(mir_eval.beat.f_measure(clip.downbeats, heard.downbeats))


def _silent_beats(clip: Annotated, heard: Heard) -> float | None:
    if clip.tempo != 0 or heard.confidence is None:
        return None
    return float(heard.confidence < LOW_CONFIDENCE)


def _beats_right(clip: Annotated, heard: Heard) -> float:
    score = beats(clip, heard)
    return float((_tempo(clip, heard, (1,)) or 0) if score is None else score >= _RIGHT_BEATS)


def key(clip: Annotated, heard: Heard) -> float | None:
    """1 for the key, 0.5 a fifth above, 0.3 for its relative, 0.2 for its parallel."""
    if clip.key is None or heard.key is None:
        return None
    return float(mir_eval.key.weighted_score(clip.key, heard.key)) if heard.key else 0.0


def _merged(clip: Annotated, heard: Heard) -> tuple[np.ndarray, list[str], list[str]] | None:
    """Durations of stretches in which neither changes, in seconds, with true labels and heard ones."""
    if clip.chords is None or heard.chords is None:
        return None
    truth, found = (np.array([(start, end) for start, end, _ in rows]) for rows in (clip.chords, heard.chords))
    labels = [label for _, _, label in heard.chords]
    found, labels = mir_eval.util.adjust_intervals(found, labels, truth.min(), truth.max(), NO_CHORD, NO_CHORD)
    spans, true, read = mir_eval.util.merge_labeled_intervals(truth, [c[2] for c in clip.chords], found, labels)
    return mir_eval.util.intervals_to_durations(spans), true, read


def chords(clip: Annotated, heard: Heard, compare: Callable[[list[str], list[str]], np.ndarray]) -> float | None:
    """Weighted chord symbol recall, over the time that has a chord; None where none has."""
    merged = _merged(clip, heard)
    if merged is None:
        return None
    durations, true, read = merged
    right = np.where([label == NO_CHORD for label in true], -1, compare(true, read))
    counted = right >= 0
    return float(right[counted] @ durations[counted] / durations[counted].sum()) if counted.any() else None


def share_without(clip: Annotated, heard: Heard, *, tonal: bool) -> float | None:
    """Share of the time with a chord that is called "no chord"; or, of the time without, that is called a chord."""
    merged = _merged(clip, heard)
    if merged is None:
        return None
    durations, true, read = merged
    inside = np.array([(label != NO_CHORD) == tonal for label in true])
    wrong = np.array([(label == NO_CHORD) == tonal for label in read])
    return float(durations[inside & wrong].sum() / durations[inside].sum()) if durations[inside].sum() > 1 else None


def _calibration(readings: Sequence[tuple[float, float]]) -> str:
    """Mean distance of confidence and share right over five bins, and the share right in each."""
    confidences, right = np.array(readings).T
    places = np.clip(np.digitize(confidences, _BINS) - 1, 0, len(_BINS) - 2)
    filled = [places == place for place in range(len(_BINS) - 1)]
    distances = [abs(confidences[inside].mean() - right[inside].mean()) for inside in filled if inside.any()]
    shares = "/".join(f"{right[inside].mean():.1f}".removeprefix("0") if inside.any() else "-" for inside in filled)
    return f"{np.mean(distances):.2f} ({shares})"
