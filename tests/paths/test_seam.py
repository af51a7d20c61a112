"""The seam of a loop: no click, and no onset that the music does not have."""

import numpy as np
import pytest

from demo.synth import Synthesiser
from musicgen_service.paths import seam
from tests.support.fake_music_model import jump_at_the_seam
from tests.support.sounds import RATE, drums, tone

BEATS = 8


def song(seconds: float = 8.0, channels: int = 1) -> np.ndarray:
    audio = Synthesiser().song(41, seconds, bpm=120, beats_per_bar=4, drums=True).audio
    return np.stack([audio * (1 - 0.3 * channel) for channel in range(channels)])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("start", [0.0, 0.001, 0.004, 0.02, 2.0])
def test_end_continues_into_the_start(start: float, channels: int) -> None:
    sound = song(channels=channels)
    for part in (sound, drums(8, channels), tone(8, channels)):
        loop, _ = seam.cut_loop(part, RATE, round(start * RATE), 4 * RATE, BEATS)
        assert loop.shape == (channels, 4 * RATE)
        assert jump_at_the_seam(loop) < 1
    _, onsets = seam.cut_loop(sound, RATE, round(start * RATE), 4 * RATE, BEATS)
    assert onsets.join <= onsets.beat
    assert onsets.boundary <= 1.1 * onsets.uncut


def test_crossfade_removes_the_click_of_a_plain_cut() -> None:
    sound = tone(8)
    start, length = 32_000, 100_003
    assert jump_at_the_seam(sound[:, start : start + length]) > 1
    assert jump_at_the_seam(seam.cut_loop(sound, RATE, start, length, BEATS)[0]) < 1


def test_sound_is_unchanged_except_at_the_join() -> None:
    sound = song()
    untouched = sound.copy()
    loop, _ = seam.cut_loop(sound, RATE, 2 * RATE, 4 * RATE, BEATS)
    unchanged = 4 * RATE - round(seam.REACH * RATE)
    shifts = [
        shift
        for shift in range(200)
        if np.array_equal(loop[:, :unchanged], sound[:, 2 * RATE - shift :][:, :unchanged])
    ]
    [shift] = shifts
    around = np.concatenate([loop[:, -RATE // 25 :], loop[:, :unchanged]], axis=1)
    assert np.abs(around - sound[:, 2 * RATE - shift - RATE // 25 :][:, : around.shape[1]]).max() < 1e-6
    assert np.array_equal(sound, untouched)


def test_loop_at_the_beginning_starts_like_the_sound_after_its_end() -> None:
    sound = song()
    loop, _ = seam.cut_loop(sound, RATE, 0, 4 * RATE, BEATS)
    assert np.abs(loop[:, : RATE // 25] - sound[:, 4 * RATE :][:, : RATE // 25]).max() < 1e-6
    rest = round(seam.REACH * RATE)
    assert np.array_equal(loop[:, rest:], sound[:, rest : 4 * RATE])


def test_silence_gives_a_loop() -> None:
    loop, onsets = seam.cut_loop(np.zeros((1, 3 * RATE), np.float32), RATE, 0, 2 * RATE, 4)
    assert not loop.any() and onsets.join == 0


def test_one_beat_gives_a_loop() -> None:
    loop, _ = seam.cut_loop(song(), RATE, 2 * RATE, RATE // 2, 1)
    assert loop.shape == (1, RATE // 2) and jump_at_the_seam(loop) < 1
