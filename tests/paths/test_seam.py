"""The seam of a loop: no click, and nothing sets in there that the music does not have."""

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
def test_the_end_flows_into_the_start(start: float, channels: int) -> None:
    sound = song(channels=channels)
    for part in (sound, drums(8, channels), tone(8, channels)):
        loop, closed = seam.close(part, RATE, round(start * RATE), 4 * RATE, BEATS)
        assert loop.shape == (channels, 4 * RATE)
        assert jump_at_the_seam(loop) < 1
    loop, closed = seam.close(sound, RATE, round(start * RATE), 4 * RATE, BEATS)
    assert closed.join <= closed.beat
    assert closed.boundary <= 1.1 * closed.uncut


def test_a_cut_without_a_fade_would_be_heard() -> None:
    sound = tone(8)
    start, length = 32_000, 100_003
    assert jump_at_the_seam(sound[:, start : start + length]) > 1
    assert jump_at_the_seam(seam.close(sound, RATE, start, length, BEATS)[0]) < 1


def test_all_but_a_moment_before_the_boundary_is_the_sound_itself() -> None:
    sound = song()
    untouched = sound.copy()
    loop, _ = seam.close(sound, RATE, 2 * RATE, 4 * RATE, BEATS)
    kept = 4 * RATE - round(seam.REACH * RATE)
    shifts = [shift for shift in range(200) if np.array_equal(loop[:, :kept], sound[:, 2 * RATE - shift :][:, :kept])]
    [shift] = shifts
    around = np.concatenate([loop[:, -RATE // 25 :], loop[:, :kept]], axis=1)
    assert np.abs(around - sound[:, 2 * RATE - shift - RATE // 25 :][:, : around.shape[1]]).max() < 1e-6
    assert np.array_equal(sound, untouched)


def test_where_nothing_comes_before_it_starts_as_what_comes_after_it() -> None:
    sound = song()
    loop, _ = seam.close(sound, RATE, 0, 4 * RATE, BEATS)
    assert np.abs(loop[:, : RATE // 25] - sound[:, 4 * RATE :][:, : RATE // 25]).max() < 1e-6
    rest = round(seam.REACH * RATE)
    assert np.array_equal(loop[:, rest:], sound[:, rest : 4 * RATE])


def test_silence_is_a_loop() -> None:
    loop, closed = seam.close(np.zeros((1, 3 * RATE), np.float32), RATE, 0, 2 * RATE, 4)
    assert not loop.any() and closed.join == 0


def test_one_beat_is_a_loop() -> None:
    loop, _ = seam.close(song(), RATE, 2 * RATE, RATE // 2, 1)
    assert loop.shape == (1, RATE // 2) and jump_at_the_seam(loop) < 1
