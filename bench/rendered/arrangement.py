"""Parts for a score: accompaniment from chords, drums, other metres, repeats."""

from dataclasses import replace

from bench.rendered.harmony import UNNAMED
from bench.rendered.patterns import Feel, Figure
from bench.rendered.score import METRES, Score, ScoreChord, ScoreNote
from musicgen_service.analysis.chord_labels import NO_CHORD, QUALITIES
from musicgen_service.analysis.pitch import NOTE_NAMES

import numpy as np

# From bars of four: how many, positions in them, and where these lie in one bar of the other metre.
_REBARRED = {
    "5/4": (1, (0, 3, 4), (0, 3, 5)),
    "7/4": (2, (0, 6, 8), (0, 6, 7)),
    "7/8": (1, (0, 3, 4), (0, 6, 7)),
}
_CHORD_CENTRE, _BASS_LOWEST = 60, 33  # MIDI
_SOFT = 0.4  # loudness of a soft hit
_ACCENT = 0.12  # that first beats have more


def rebarred(score: Score, metre: str) -> Score:
    """Play a score in four in another metre: five lengthens the last beat of a bar, seven shortens it."""
    bars, old, new = _REBARRED[metre]
    length = METRES["4/4"][1] * bars

    def move(beats: float) -> float:
        number, inside = divmod(beats, length)
        return float(number * new[-1] + np.interp(inside, old, new))

    parts = [[n._replace(start=move(n.start), end=move(n.end)) for n in part] for part in score.parts]
    symbols = [s._replace(start=move(s.start), end=move(s.end)) for s in score.symbols]
    return within(replace(score, metre=metre, bars=score.bars // bars, parts=parts, symbols=symbols))


def is_rebarred(metre: str) -> bool:
    """Whether scores in a metre are made from scores in four."""
    return metre in _REBARRED


def repeated(score: Score, bars: int) -> Score:
    """Repeat a score, or leave out its end, for so many bars."""
    times = -(-bars // score.bars)
    shifts = [turn * score.beats for turn in range(times)]
    parts = [[n._replace(start=n.start + s, end=n.end + s) for s in shifts for n in part] for part in score.parts]
    symbols = [c._replace(start=c.start + s, end=c.end + s) for s in shifts for c in score.symbols]
    return within(replace(score, bars=bars, parts=parts, symbols=symbols))


def within(score: Score) -> Score:
    """Leave out what lies behind the last bar."""
    parts = [[n._replace(end=min(n.end, score.beats)) for n in p if n.start < score.beats - 1e-3] for p in score.parts]
    symbols = [c._replace(end=min(c.end, score.beats)) for c in score.symbols if c.start < score.beats - 1e-3]
    return replace(score, parts=parts, symbols=symbols)


def transposed(score: Score, semitones: int) -> Score:
    """Transpose a score whose chord symbols are not used yet, or all of them."""
    parts = [[n._replace(midi=n.midi + semitones) for n in part] for part in score.parts]
    symbols = [c._replace(label=_transposed_label(c.label, semitones)) for c in score.symbols]
    key = score.key and ((score.key[0] + semitones) % 12, score.key[1])
    return replace(score, parts=parts, symbols=symbols, key=key)


def _transposed_label(label: str, semitones: int) -> str:
    root, _, kind = label.partition(":")
    return f"{NOTE_NAMES[(NOTE_NAMES.index(root) + semitones) % 12]}:{kind}"


def accompaniment(
    chords: list[ScoreChord], figure: Figure, beats_per_bar: int, random: np.random.Generator
) -> tuple[list[ScoreNote], list[ScoreNote]]:
    """Write out a figure: the notes of the chords, and those of the bass."""
    upper: list[ScoreNote] = []
    bass: list[ScoreNote] = []
    strikes = 0
    for number, chord in enumerate(chords):
        if chord.label in (NO_CHORD, UNNAMED):
            continue
        root, kind = chord.label.split(":")
        steps = QUALITIES[kind]
        tonic = NOTE_NAMES.index(root)
        voiced = _voiced(tonic, steps, int(random.integers(-4, 5)))
        following = chords[(number + 1) % len(chords)].label.partition(":")[0]
        # Too short to be broken up: the chord would not be heard whole.
        is_whole = not figure.notes or (chord.end - chord.start) * len(figure.starts) < len(figure.notes)
        bass += _bass(chord, figure.bass, tonic, steps, following)
        first = int(np.ceil(chord.start - 1e-6))
        beats = range(first, int(np.ceil(chord.end - 1e-6)))
        for beat in beats:
            if (figure.beats == "first" and beat > first) or (figure.beats == "others" and beat % beats_per_bar == 0):
                continue
            if figure.beats == "even" and beat % 2:
                continue
            for at in figure.starts:
                start = beat + at
                end = min(start + figure.length, chord.end) if figure.length else chord.end
                if start >= chord.end - 1e-3:
                    continue
                chosen = range(len(voiced)) if is_whole else figure.notes[strikes % len(figure.notes)]
                strikes += 1
                loudness = 0.6 + (_ACCENT if beat % beats_per_bar == 0 and at == 0 else 0)
                upper += [ScoreNote(start, end, voiced[place % len(voiced)], loudness) for place in chosen]
    return upper, bass


def _voiced(tonic: int, steps: tuple[int, ...], shift: int) -> list[int]:
    """Close position, in the inversion whose mean is nearest to the middle of the keyboard."""
    lowest = _CHORD_CENTRE + shift - 5
    return sorted(lowest + (tonic + step - lowest) % 12 for step in steps)


def _bass(chord: ScoreChord, kind: str, tonic: int, steps: tuple[int, ...], following: str) -> list[ScoreNote]:
    root = _BASS_LOWEST + (tonic - _BASS_LOWEST) % 12
    fifth = root + next(step for step in steps if step >= 5)
    if not kind:
        return []
    if kind == "root":
        return [ScoreNote(chord.start, chord.end, root, 0.75)]
    beats = [float(beat) for beat in np.arange(chord.start, chord.end - 1e-3)]
    line = [root if number % 2 == 0 else fifth for number in range(len(beats))]
    if kind == "walking":
        line = [(root, root + steps[1], fifth)[number % 3] for number in range(len(beats))]
        # The last beat leads to the next root from a semitone below.
        if len(line) > 1 and following in NOTE_NAMES:
            line[-1] = _BASS_LOWEST + (NOTE_NAMES.index(following) - _BASS_LOWEST) % 12 - 1
    ends = [*beats[1:], chord.end]
    return [ScoreNote(at, at + 0.9 * (end - at), midi, 0.75) for at, end, midi in zip(beats, ends, line, strict=True)]


def drums(feel: Feel, bars: int, random: np.random.Generator) -> list[ScoreNote]:
    """Play a feel; some hits are left out, and some bars end in a fill."""
    beats_per_bar = METRES[feel.metre][1]
    hits: list[ScoreNote] = []
    for bar in range(bars):
        fill = bar % 4 == 3 and random.random() < 0.5
        for drum, steps in feel.hits.items():
            for step, mark in enumerate(steps):
                at = bar * beats_per_bar + step * beats_per_bar / len(steps)
                if mark == "." or (mark == "o" and random.random() < 0.1):
                    continue
                loudness = _SOFT if mark == "o" else 0.85 + (_ACCENT if step == 0 else 0)
                hits.append(ScoreNote(at, at + 0.1, drum, loudness))
        if fill:
            last = (bar + 1) * beats_per_bar - 1
            hits += [ScoreNote(last + at, last + at + 0.1, drum, 0.8) for at, drum in ((0.5, 47), (0.75, 43))]
    return hits
