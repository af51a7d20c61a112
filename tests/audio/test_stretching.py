"""Stretching: exact lengths, exact positions, and reproducible results."""

import numpy as np
import pytest

from musicgen_service.audio.stretching import stretch, warp
from tests.support.sounds import RATE, tone

CLICK = 64
"""Length of a click in samples."""


def clicks(seconds: float, times: list[float], channels: int = 1) -> np.ndarray:
    sound = np.zeros((channels, round(seconds * RATE)), np.float32)
    for time in times:
        start = round(time * RATE)
        sound[:, start : start + CLICK] = 0.9 * np.hanning(CLICK)
    return sound


def click_near(sound: np.ndarray, time: float, within: float = 0.1) -> float:
    """Start of the click whose peak is the loudest sample near a time, in seconds."""
    first = max(0, round((time - within) * RATE))
    near = np.abs(sound[0, first : round((time + within) * RATE)])
    return (first + int(near.argmax()) - CLICK / 2) / RATE


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("factor", [0.5, 0.87, 0.999, 1.0, 1.001, 1.13, 2.0])
def test_the_length_is_exact(channels: int, factor: float) -> None:
    for samples in (12_345, 200_001):
        length = round(samples * factor)
        assert stretch(tone(7, channels)[:, :samples], RATE, length).shape == (channels, length)


def test_clip_of_the_right_length_is_unchanged() -> None:
    sound = tone(1)
    assert np.array_equal(stretch(sound, RATE, sound.shape[1]), sound)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_pitch_is_kept(factor: float) -> None:
    sound = tone(4)
    longer = stretch(sound, RATE, round(4 * RATE * factor))
    for audio in (sound, longer):
        middle = audio[0, RATE : RATE + 65_536]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
        lowest = np.argmax(spectrum[: round(250 * middle.size / RATE)])
        assert lowest * RATE / middle.size == pytest.approx(220, abs=0.5)


def test_the_same_sound_gives_the_same_result() -> None:
    assert np.array_equal(stretch(tone(2), RATE, 70_000), stretch(tone(2), RATE, 70_000))


@pytest.mark.parametrize("channels", [1, 2])
def test_points_reach_their_targets(channels: int) -> None:
    times = [1.0, 2.0, 3.0, 4.0, 5.0]
    targets = [1.1, 1.9, 3.2, 4.15, 4.8]
    moved = warp(
        clicks(6, times, channels),
        RATE,
        [0, *(round(t * RATE) for t in times), 6 * RATE],
        [0, *(round(t * RATE) for t in targets), 6 * RATE],
    )
    assert moved.shape == (channels, 6 * RATE)
    for target in targets:
        assert click_near(moved, target) == pytest.approx(target, abs=0.002)


def test_unmoved_points_leave_the_audio_unchanged() -> None:
    sound = tone(3)
    points = [0, RATE, 2 * RATE, 3 * RATE]
    assert np.abs(warp(sound, RATE, points, points) - sound).max() < 1e-6
    assert np.array_equal(sound, tone(3))


def test_before_the_first_point_there_is_silence() -> None:
    moved = warp(tone(2), RATE, [0, 2 * RATE], [RATE // 2, 5 * RATE // 2])
    assert not moved[:, : RATE // 2].any()
    assert np.abs(moved[:, RATE // 2 :] - tone(2)).max() < 1e-6


def test_level_is_steady_across_segments() -> None:
    sound = tone(6)
    moved = warp(sound, RATE, [0, 2 * RATE, 4 * RATE, 6 * RATE], [0, 70_000, 120_000, 6 * RATE])
    window = RATE // 20
    level = np.sqrt(np.convolve(moved[0] ** 2, np.ones(window) / window, "valid"))[RATE // 10 : -RATE // 10]
    average = np.sqrt(np.mean(sound**2))
    assert 0.6 * average < level.min() and level.max() < 1.4 * average
