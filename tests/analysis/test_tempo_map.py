"""Tempo maps: beats on beats, downbeats on the first of bars, whatever comes before, between and after them."""

import numpy as np
import pytest

from musicgen_service.analysis import tempo_map
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.tempo_map import TICKS, TempoMap, TimeSignature


def grid_of(beats: np.ndarray, per_bar: int = 4, first: int = 0, metre: str = "") -> BeatGrid:
    tempo = 60 / float(np.median(np.diff(beats)))
    return BeatGrid(tempo, beats, beats[first::per_bar], per_bar, 1.0, metre or f"{per_bar}/4")


def bar_lines(times: TempoMap, until: int) -> list[int]:
    """Ticks at which bars begin."""
    lines = [0]
    ends = [*(signature.tick for signature in times.signatures[1:]), until]
    for (_, numerator, denominator), end in zip(times.signatures, ends, strict=True):
        bar = 4 * TICKS * numerator // denominator
        assert (end - lines[-1]) % bar == 0 or end == until
        lines += range(lines[-1] + bar, end + 1, bar)
    return lines


GRIDS = {
    "from the first sample": grid_of(np.arange(0, 12, 0.5)),
    "after a moment": grid_of(np.arange(0.13, 12, 0.5)),
    "with beats before the first bar": grid_of(np.arange(0.37, 12, 0.5), first=2),
    "after a long silence": grid_of(np.arange(7.3, 19, 0.5)),
    "a waltz": grid_of(np.arange(0.2, 12, 0.41), per_bar=3, first=1),
    "seven to a bar": grid_of(np.arange(0.2, 22, 0.31), per_bar=7, first=4),
    "in 6/8": grid_of(np.arange(0.2, 12, 0.55), per_bar=2, first=1, metre="6/8"),
    "in 6/8 with a bar of three": BeatGrid(120, np.arange(0, 9, 0.5), np.array([0, 1, 2.5, 3.5]), 2, 1.0, "6/8"),
    "in 7/8": grid_of(np.arange(0.2, 12, 0.24), per_bar=7, first=4),
    "that slows down": grid_of(np.cumsum(np.linspace(0.4, 0.9, 24)), first=3),
    "with a pause": grid_of(np.concatenate([np.arange(0.1, 4, 0.5), np.arange(7.1, 12, 0.5)])),
    "with a pause after its first beat": grid_of(np.append(0.1, np.arange(30.1, 42, 0.5)), first=1),
    "with a pause before its last beat": grid_of(np.append(np.arange(0.1, 12, 0.5), 41.6)),
    "with a beat alone between pauses": grid_of(
        np.concatenate([np.arange(0.1, 8, 0.5), [30.1], np.arange(60.1, 70, 0.5)])
    ),
    "with a bar of five": BeatGrid(120, np.arange(0, 9, 0.5), np.array([0, 2, 4.5, 6.5, 8.5]), 4, 1.0),
}


@pytest.mark.parametrize("name", GRIDS)
def test_beats_lie_on_beats_and_downbeats_on_bar_lines(name: str) -> None:
    grid = GRIDS[name]
    times = tempo_map.of_grid(grid)
    lines = bar_lines(times, times.tick(grid.beats[-1]) + 8 * TICKS)
    for downbeat in grid.downbeats:
        assert times.tick(downbeat) in lines
    ticks = np.array([times.tick(beat) for beat in grid.beats])
    assert (np.diff(ticks) % times.beat == 0).all() and (np.diff(ticks) > 0).all()
    assert (np.abs(np.diff(times.times)) > 0).all() and times.ticks[0] == times.times[0] == 0


@pytest.mark.parametrize("name", GRIDS)
def test_tempi_play_every_beat_when_it_is_heard(name: str) -> None:
    grid = GRIDS[name]
    times = tempo_map.of_grid(grid)
    ticks, lengths = zip(*times.tempi, strict=True)
    for beat in grid.beats:
        at = times.tick(beat)
        spans = np.diff(np.minimum([*ticks, at], at))
        assert spans @ np.array(lengths) / TICKS / 1e6 == pytest.approx(beat, abs=2e-3)
    assert max(60e6 / length for length in lengths) < 1000 and max(lengths) < 2**24


@pytest.mark.parametrize(
    ("metre", "per_bar", "beat", "signature", "quarter"),
    [
        ("6/8", 2, 0.6, (6, 8), 0.4),
        ("5/4", 5, 0.4, (5, 4), 0.4),
        ("5/4", 5, 0.25, (5, 8), 0.5),
        ("7/4", 7, 0.35, (7, 4), 0.35),
        ("7/4", 7, 0.25, (7, 8), 0.5),
        ("3/4", 3, 0.25, (3, 4), 0.25),
        ("2/4", 2, 0.6, (2, 4), 0.6),
    ],
)
def test_beats_are_the_notes_that_they_are_written_as(
    metre: str, per_bar: int, beat: float, signature: tuple[int, int], quarter: float
) -> None:
    """In 6/8 they are dotted quarters, and five or seven fast ones are eighths."""
    times = tempo_map.of_grid(grid_of(np.arange(24) * beat, per_bar, metre=metre))
    assert times.signatures == [TimeSignature(0, *signature)]
    [(start, length)] = times.tempi
    assert start == 0 and length == pytest.approx(1e6 * quarter, rel=1e-4)
    assert times.tick(beat) == times.beat == round(TICKS * beat / quarter)


def test_an_upbeat_before_a_bar_of_six_eighths_is_a_short_bar_of_eighths() -> None:
    times = tempo_map.of_grid(grid_of(np.arange(0.2, 12, 0.6), per_bar=2, metre="6/8"))
    assert times.signatures == [TimeSignature(0, 1, 8), TimeSignature(TICKS // 2, 6, 8)]


def test_steady_music_has_one_tempo_though_its_beats_are_heard_a_little_off() -> None:
    off = np.random.default_rng(1).normal(0, 0.004, 32)
    times = tempo_map.of_grid(grid_of(np.arange(32) * 0.5 + 0.5 + off))
    assert len(times.tempi) == 2 and times.tempi[1][1] == pytest.approx(500_000, rel=1e-3)


def test_music_before_the_first_bar_line_is_a_short_bar() -> None:
    times = tempo_map.of_grid(grid_of(np.arange(0.25, 12, 0.5), first=1))
    assert times.signatures == [TimeSignature(0, 3, 8), TimeSignature(3 * TICKS // 2, 4, 4)]


def test_a_beat_within_milliseconds_of_the_start_is_the_start() -> None:
    times = tempo_map.of_grid(grid_of(np.arange(0.004, 12, 0.5)))
    assert times.signatures == [TimeSignature(0, 4, 4)] and times.tick(0.504) == TICKS


@pytest.mark.parametrize("grid", [BeatGrid(), BeatGrid(100, np.array([0.3]), np.array([0.3]), 4, 0.1)])
def test_without_beats_the_tempo_is_120(grid: BeatGrid) -> None:
    times = tempo_map.of_grid(grid)
    assert times.tempi == [(0, 500_000)] and times.signatures == [TimeSignature(0, 4, 4)]
    assert times.tick(10.25) == 20.5 * TICKS


def test_a_long_rest_is_usual_bars_and_what_is_left() -> None:
    beats = np.concatenate([np.arange(16) * 0.5, 8 + 150.5 + np.arange(16) * 0.5])
    times = tempo_map.of_grid(BeatGrid(120, beats, beats[::4], 4, 1.0))
    assert times.signatures == [(0, 4, 4), (316 * TICKS, 1, 4), (317 * TICKS, 4, 4)]
    assert len(times.tempi) == 1


def test_two_beats_far_apart_are_counted_at_the_tempo() -> None:
    beats = np.array([20.0, 60.0])
    times = tempo_map.of_grid(BeatGrid(120, beats, beats, 4, 1.0))
    assert times.tempi[0][1] == pytest.approx(500_000) and times.tick(60.0) - times.tick(20.0) == 80 * TICKS
