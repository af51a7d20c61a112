"""Music with drawn rhythms, from which the beat tracker learns: every groove has patterns of its own.

Tempi are those that people choose: most are near 110 beats per minute, a few are far from it. Rhythms are drawn from
the strength of metrical places, so that patterns differ without end, and are played by a soundfont or by the demo's
drums; see `bench.rendered`, whose performance and mixing are used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rendered.making import spoiled
from bench.rendered.midi import DRUMS, RATE, Player, render
from bench.rendered.performance import TIMINGS, Performance
from bench.rendered.score import ScoreNote
from demo import rhythms
from demo.rhythms import METRES, Metre

Random = np.random.Generator
_MIDDLE_TEMPO, _USUAL, _WIDE = 112.0, 0.25, 0.55  # and the deviations of its logarithm
_WIDE_SHARE = 0.25
_SLOWEST, _FASTEST = 45.0, 240.0
_PARTS = {"drums": 0.3, "all": 0.4, "tones": 0.3}
_BARS_PER_CHORD = {0.5: 0.15, 1.0: 0.5, 2.0: 0.25, 4.0: 0.1}
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_LEADS, _CHORDS, _BASSES = range(0, 112), (*range(0, 8), *range(16, 32), *range(48, 64), *range(80, 104)), range(32, 40)
_LOOP_BARS = (1, 1, 2, 2, 4)
_SHORT, _LONG = (2.0, 9.0), (10.0, 24.0)  # seconds


@dataclass(frozen=True)
class Groove:
    """A clip and its truth.

    Attributes
    ----------
    samples : float32 ``[samples]`` at RATE of `bench.rendered.midi`
    beats, downbeats : seconds, all within the clip
    metre : as `musicgen_service.analysis.metre` names it
    """

    samples: NDArray[np.float32]
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]
    metre: str


def groove(seed: int) -> Groove:
    """One of them: a loop of whole bars, or a part of a piece."""
    random = np.random.default_rng(seed)
    metre = METRES[int(random.choice(len(METRES), p=[m.share for m in METRES]))]
    is_wide = random.random() < _WIDE_SHARE
    spread = _WIDE if is_wide else _USUAL
    middle = _MIDDLE_TEMPO * metre.tempo
    tempo = float(np.clip(middle * np.exp(spread * random.standard_normal()), _SLOWEST, _FASTEST))
    bar = metre.beats * 60 / tempo
    length = str(random.choice(["loop", "short", "long"], p=[0.35, 0.25, 0.4]))
    if length == "loop":
        bars = int(random.choice(_LOOP_BARS))
        # Played twice: the second time begins with what still sounds of the first.
        start, seconds, played = bar * bars * int(random.random() < 0.5), bar * bars, 2 * bars
        timing = "steady"
    else:
        bars, seconds = 8, float(random.uniform(*(_SHORT if length == "short" else _LONG)))
        start = float(random.uniform(0, 3)) if random.random() < 0.7 else 0.0
        played = int(np.ceil((start + seconds + 1) * 1.3 / bar)) + 1
        shares = np.array([share for _, _, share in TIMINGS.values()])
        timing = str(random.choice(list(TIMINGS), p=shares / shares.sum()))
    swing = float(random.uniform(0.08, 0.17)) if not metre.is_compound and random.random() < 0.15 else 0.0
    playing = Performance(timing, tempo, played * metre.beats, swing, random)
    players = _players(metre, tempo, bars, played, playing, random)
    samples = render(players, start + seconds)[round(start * RATE) :]
    samples, _ = spoiled(samples / np.float32(max(float(np.abs(samples).max()), 1e-6)), random)
    beats = playing.seconds(np.arange(played * metre.beats + 1.0)) - start
    inside = (beats > -0.01) & (beats < len(samples) / RATE - 0.03)
    is_first = np.arange(len(beats)) % metre.beats == 0
    return Groove(samples, np.maximum(beats[inside], 0), np.maximum(beats[inside & is_first], 0), metre.name)


def _players(metre: Metre, tempo: float, bars: int, played: int, playing: Performance, random: Random) -> list[Player]:
    """Some of drums, bass, chords and lead; what is drawn for so many bars is repeated until all are played."""
    parts = str(random.choice(list(_PARTS), p=list(_PARTS.values())))
    drums = rhythms.drums(metre, tempo, bars, random) if parts != "tones" else []
    tones: list[tuple[int, list[ScoreNote]]] = []
    if parts != "drums":
        tones = _tones(metre, tempo, bars, random)
        kept = [part for part in tones if random.random() < 0.65]
        tones = kept or [tones[int(random.integers(len(tones)))]]
    level = float(random.uniform(0.5, 1.0))
    players = [Player(DRUMS, playing.play(_repeated(drums, metre, bars, played), 0.6))] if drums else []
    for program, notes in tones:
        softer = [note._replace(loudness=note.loudness * level) for note in notes]
        players.append(Player(program, playing.play(_repeated(softer, metre, bars, played))))
    return players


def _repeated(notes: list[ScoreNote], metre: Metre, bars: int, played: int) -> list[ScoreNote]:
    shifts = np.arange(0, played, bars) * metre.beats
    moved = [note._replace(start=note.start + at, end=note.end + at) for at in shifts for note in notes]
    return [note for note in moved if note.start < played * metre.beats - 1e-3]


def _tones(metre: Metre, tempo: float, bars: int, random: Random) -> list[tuple[int, list[ScoreNote]]]:
    """Bass, chords and lead of so many bars, each with its program."""
    scale, tonic = _SCALES[int(random.integers(2))], int(random.integers(12))
    per_chord = float(random.choice(list(_BARS_PER_CHORD), p=list(_BARS_PER_CHORD.values()))) * metre.beats
    if metre.beats % 2:
        per_chord = max(per_chord, metre.beats)
    count = int(np.ceil(bars * metre.beats / per_chord))
    degrees = [0, *random.choice([0, 1, 2, 3, 3, 4, 4, 5, 6], 3)]
    roots = [int(degrees[number % 4]) for number in range(count)]

    def midi(degree: int, lowest: int) -> int:
        octave, step = divmod(degree, 7)
        return lowest + (tonic + scale[step] - lowest) % 12 + 12 * octave

    def chord_at(beat: float) -> int:
        return roots[min(int(beat / per_chord + 1e-6), count - 1)]

    changes = [number * per_chord for number in range(count)]
    low = rhythms.line(metre, tempo, bars, random, changes)
    bass = [
        ScoreNote(at, end, midi(chord_at(at) + (4 if number % 2 and random.random() < 0.3 else 0), 31), 0.75)
        for number, (at, end) in enumerate(low)
    ]
    chords = []
    is_broken = random.random() < 0.25
    for number, (at, end) in enumerate(rhythms.line(metre, tempo, bars, random, changes)):
        steps = [(0, 2, 4)[number % 3]] if is_broken else [0, 2, 4]
        chords += [ScoreNote(at, end, midi(chord_at(at) + step, 52), 0.55) for step in steps]
    lead, step = [], int(random.integers(0, 7))
    for at, end in rhythms.melody(metre, tempo, bars, random):
        step = int(np.clip(step + random.choice([-2, -1, -1, 0, 1, 1, 2]), -3, 10))
        lead.append(ScoreNote(at, end, midi(step, 62), 0.65))
    return [
        (int(random.choice(_BASSES)), bass),
        (int(random.choice(_CHORDS)), chords),
        (int(random.choice(_LEADS)), lead),
    ]
