"""Rhythms drawn from the strength of metrical places: of drums, accompaniments and melodies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rendered.score import ScoreNote

Random = np.random.Generator
Array = NDArray[np.float64]
Span = tuple[float, float]
_BINARY, _COMPOUND = 4, 6  # steps of a beat
_FASTEST_STEP = 0.085  # seconds between two hits of one drum
_EASY_STEP = 0.13  # seconds from which steps are usual
_BEAT, _BAR, _GROUP, _HALF = 2.0, 4.0, 3.0, 1.0  # strengths of places; others have none
# Numbers of General MIDI.
_KICKS, _SNARES, _HATS = (35, 36), (38, 40, 39, 37), (42, 44, 46, 51, 53, 59, 69, 70, 82, 54)
_PERCUSSION = (41, 43, 45, 47, 48, 50, 56, 60, 61, 62, 63, 64, 65, 66, 67, 68, 73, 75, 76, 77, 37, 39, 54, 70)


@dataclass(frozen=True)
class Metre:
    """A kind of bar.

    Attributes
    ----------
    groups : beats of each of its groups, in several ways to divide it
    tempo : of its beats, relative to other metres
    share : of all grooves
    """

    name: str
    beats: int
    groups: tuple[tuple[int, ...], ...]
    tempo: float
    share: float
    is_compound: bool = False

    @property
    def steps(self) -> int:
        """Steps of a beat."""
        return _COMPOUND if self.is_compound else _BINARY


METRES = (
    Metre("4/4", 4, ((2, 2),), 1.0, 0.74),
    Metre("3/4", 3, ((3,),), 1.05, 0.09),
    Metre("2/4", 2, ((2,),), 0.95, 0.03),
    Metre("6/8", 2, ((2,),), 0.68, 0.07, True),
    Metre("5/4", 5, ((3, 2), (2, 3)), 1.2, 0.04),
    Metre("7/4", 7, ((4, 3), (3, 4), (2, 2, 3), (3, 2, 2)), 1.3, 0.03),
)


def strengths(metre: Metre, random: Random) -> Array:
    """How strong each step of a bar is, ``[steps]``."""
    result = np.zeros(metre.beats * metre.steps)
    result[:: 2 if metre.is_compound else metre.steps // 2] = _HALF
    result[:: metre.steps] = _BEAT
    groups = metre.groups[int(random.integers(len(metre.groups)))]
    result[np.cumsum((0, *groups[:-1])) * metre.steps] = _GROUP
    result[0] = _BAR
    return result


def drawn(strength: Array, bars: int, busy: float, order: float, random: Random) -> NDArray[np.bool_]:
    """Hits of a pattern of one or two bars, with small changes in each bar, ``[bars * steps]``.

    Parameters
    ----------
    busy : how many steps are hit: the strength from which more than half of those with it are
    order : how much strong places are preferred
    """
    own = 1 if bars % 2 or random.random() < 0.6 else 2
    likely = 1 / (1 + np.exp(-order * (np.tile(strength, own) - busy)))
    pattern = np.tile(random.random(len(likely)) < likely, bars // own)
    changed = random.random(len(pattern)) < random.choice([0.0, 0.02, 0.06])
    return np.where(changed, random.random(len(pattern)) < np.tile(strength, bars) / 6, pattern)


def drums(metre: Metre, tempo: float, bars: int, random: Random) -> list[ScoreNote]:
    """Drums of so many bars: a kit, percussion, or both."""
    strength = strengths(metre, random)
    kind = str(random.choice(["kit", "percussion", "both"], p=[0.55, 0.2, 0.25]))
    hits: list[ScoreNote] = []
    if kind != "percussion":
        for draw, numbers, share in ((_kick, _KICKS, 0.88), (_snare, _SNARES, 0.85), (_hat, _HATS, 0.85)):
            if random.random() < share:
                hits += _hits(draw(metre, tempo, strength, bars, random), metre, int(random.choice(numbers)), random)
    if kind != "kit":
        for number in random.choice(
            _PERCUSSION, int(random.integers(1, 4) if kind == "both" else random.integers(2, 5))
        ):
            pattern = drawn(strength, bars, random.uniform(0.5, 3.0), random.uniform(0.6, 2.5), random)
            hits += _hits(_playable(pattern, metre, tempo), metre, int(number), random)
    if bars > 2 and random.random() < 0.35:
        steps = int(random.choice([2, 4]))
        last = bars * metre.beats - 1
        hits += [ScoreNote(last + k / steps, last + k / steps + 0.1, int(random.choice([45, 47, 48, 38])), 0.75)
                 for k in range(steps)]  # fmt: skip
    return hits or _hits(np.tile(strength >= _BEAT, bars), metre, 37, random)


def _kick(metre: Metre, tempo: float, strength: Array, bars: int, random: Random) -> NDArray[np.bool_]:
    kind = random.random()
    if kind < 0.25:
        return np.tile(strength >= _BEAT, bars)
    if kind < 0.45:
        return np.tile(strength >= _GROUP, bars)
    pattern = drawn(strength, bars, random.uniform(1.5, 2.8), random.uniform(1.0, 2.5), random)
    pattern[:: len(strength)] |= random.random() < 0.9
    return _playable(pattern, metre, tempo)


def _snare(metre: Metre, tempo: float, strength: Array, bars: int, random: Random) -> NDArray[np.bool_]:
    """On weak beats mostly; half as often, or between beats; or drawn."""
    bar, beat = np.zeros(len(strength), bool), metre.steps
    kind = random.random()
    if kind < 0.6:
        weak = [k for k in range(metre.beats) if strength[k * beat] == _BEAT]
        bar[[k * beat for k in (weak if random.random() < 0.7 else weak[-1:])]] = True
    elif kind < 0.72 and metre.beats == 4:
        bar[2 * beat] = True
    elif kind < 0.79 and not metre.is_compound:
        bar[beat // 2 :: beat] = True
    else:
        return _playable(
            drawn(4 - strength, bars, random.uniform(1.8, 3), random.uniform(0.5, 1.5), random), metre, tempo
        )
    pattern = np.tile(bar, bars)
    if random.random() < 0.3:
        pattern |= _playable(random.random(len(pattern)) < 0.08, metre, tempo)
    return pattern


def _hat(metre: Metre, tempo: float, strength: Array, bars: int, random: Random) -> NDArray[np.bool_]:
    """On all steps of one kind, between beats, or drawn."""
    step = 60 / tempo / metre.steps
    # How far apart: every step, every second, or every beat; of those that are slow enough, mostly the finest.
    every = [k for k in (1, 2, metre.steps) if k * step >= _EASY_STEP] or [metre.steps]
    chosen = every[0] if random.random() < 0.5 else every[int(random.integers(len(every)))]
    bar = np.zeros(len(strength), bool)
    kind = random.random()
    if kind < 0.7:
        bar[::chosen] = True
    elif kind < 0.85:
        bar[metre.steps // 2 :: metre.steps] = True
    else:
        busy, order = random.uniform(0.3, 1.5), random.uniform(0.6, 2)
        return _playable(drawn(strength, bars, busy, order, random), metre, tempo)
    return np.tile(bar, bars)


def _playable(pattern: NDArray[np.bool_], metre: Metre, tempo: float) -> NDArray[np.bool_]:
    """Without the finest steps where they are too fast."""
    if 60 / tempo / metre.steps >= _FASTEST_STEP:
        return pattern
    kept = np.zeros_like(pattern)
    kept[::2] = pattern[::2]
    return kept


def _hits(pattern: NDArray[np.bool_], metre: Metre, number: int, random: Random) -> list[ScoreNote]:
    loudness, accent = random.uniform(0.45, 0.9), random.uniform(0, 0.25)
    steps = np.flatnonzero(pattern)
    return [
        ScoreNote(
            step / metre.steps,
            step / metre.steps + 0.1,
            number,
            float(min(loudness + accent * (step % metre.steps == 0) * random.uniform(0.5, 1), 1.0)),
        )
        for step in steps
    ]


def line(metre: Metre, tempo: float, bars: int, random: Random, changes: Sequence[float]) -> list[Span]:
    """Beginnings and ends, in beats, of the notes of an accompaniment; one begins where the chord changes, mostly."""
    total = bars * metre.beats
    strength = strengths(metre, random)
    half = 1 / 2 if not metre.is_compound else 2 / 3
    kinds: dict[str, tuple[float, Callable[[], Array]]] = {
        "held": (0.22, lambda: np.zeros(0)),
        "beats": (0.2, lambda: np.arange(total, dtype=float)),
        "bars": (0.1, lambda: np.arange(0, total, metre.beats, dtype=float)),
        "halves": (0.12, lambda: np.arange(0, total, 1 / 2 if not metre.is_compound else 1 / 3)),
        "between": (0.1, lambda: np.arange(half, total)),
        "drawn": (0.26, lambda: _drawn_line(strength, bars, metre, tempo, random.uniform(1.0, 2.8), random)),
    }
    name = str(random.choice(list(kinds), p=[share for share, _ in kinds.values()]))
    starts = kinds[name][1]()
    if name != "between" or random.random() < 0.3:
        starts = np.unique(np.concatenate([starts, changes]).round(4))
    ends = np.append(starts[1:], total)
    length = random.uniform(0.15, 0.6) if random.random() < 0.35 else np.inf
    return [(float(at), float(min(at + length, end - 0.02))) for at, end in zip(starts, ends, strict=True)]


def melody(metre: Metre, tempo: float, bars: int, random: Random) -> list[Span]:
    """Beginnings and ends, in beats, of the notes of a melody, which rests now and then."""
    strength = strengths(metre, random)
    # Notes of a melody are seldom faster than five a second.
    busy = random.uniform(0.8, 2.2) + 0.8 * np.log2(max(tempo, 60) / 110)
    starts = _drawn_line(strength, bars, metre, tempo, busy, random)
    ends = np.append(starts[1:], bars * metre.beats)
    held = random.uniform(0.6, 1.0)
    return [
        (float(at), float(at + max(held * min(end - at, 4.0), 0.1)))
        for at, end in zip(starts, ends, strict=True)
        if random.random() > 0.06
    ]


def _drawn_line(strength: Array, bars: int, metre: Metre, tempo: float, busy: float, random: Random) -> Array:
    pattern = drawn(strength, bars, busy, random.uniform(0.8, 2.5), random)
    return np.flatnonzero(_playable(pattern, metre, tempo)) / metre.steps
