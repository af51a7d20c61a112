"""The mix of a remix: balanced as the song was, and never clipped."""

import numpy as np
import pytest

from musicgen_service.audio import mixing
from musicgen_service.audio.loudness import integrated_loudness
from tests.support.sounds import RATE, drums, tone

CEILING = 10 ** (-1 / 20) + 1e-6


@pytest.mark.parametrize("strategy", ["loudness", "clip", "peak", "rms"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_mix_never_clips(strategy: str, channels: int) -> None:
    mix = mixing.mix(drums(4, channels), 3 * tone(4, channels), drums(4, channels), RATE, strategy)
    for part in (mix.whole, mix.backing, mix.vocals):
        assert part.shape == (channels, 4 * RATE) and part.dtype == np.float32
        assert np.abs(part).max() <= CEILING


def test_a_mix_has_the_loudness_asked_for() -> None:
    mix = mixing.mix(tone(4), tone(4, amplitude=0.1), tone(4), RATE, "loudness")
    assert integrated_loudness(mix.whole, RATE) == pytest.approx(-14, abs=0.1)


@pytest.mark.parametrize("level", [0.01, 0.3, 1.0])
def test_the_backing_is_as_loud_as_what_it_replaces(level: float) -> None:
    voice, song = drums(4), tone(4, amplitude=0.2)
    mix = mixing.mix(tone(4, amplitude=level), voice, song, RATE, "clip")
    assert integrated_loudness(mix.backing, RATE) == pytest.approx(integrated_loudness(song, RATE), abs=0.1)


def test_the_parts_add_up_to_the_mix_where_nothing_is_limited() -> None:
    mix = mixing.mix(tone(4), tone(4, amplitude=0.1), tone(4, amplitude=0.2), RATE, "rms")
    assert np.abs(mix.backing + mix.vocals - mix.whole).max() < 0.01


def test_behind_a_voice_that_was_alone_the_backing_is_as_loud_as_the_voice() -> None:
    silence, voice = np.zeros((1, 4 * RATE), np.float32), tone(4, amplitude=0.1)
    mix = mixing.mix(tone(4), voice, silence, RATE, "clip")
    assert integrated_loudness(mix.backing, RATE) == pytest.approx(integrated_loudness(voice, RATE), abs=0.1)


def test_silence_mixes_to_silence() -> None:
    silence = np.zeros((2, RATE), np.float32)
    mix = mixing.mix(silence, silence, silence, RATE, "loudness")
    assert not mix.whole.any() and np.isfinite(mix.whole).all()


def test_vocals_are_heard_unless_they_are_a_remainder() -> None:
    song = tone(4)
    assert mixing.is_heard(0.1 * song, song, RATE)
    assert not mixing.is_heard(0.001 * song, song, RATE)
    assert not mixing.is_heard(0 * song, song, RATE)
    assert mixing.is_heard(song, 0 * song, RATE)


def test_a_limiter_leaves_alone_what_is_low_enough() -> None:
    assert np.array_equal(mixing.limit(tone(1), RATE), tone(1))


def test_a_limiter_turns_channels_down_alike_and_smoothly() -> None:
    loud = np.concatenate([3 * drums(2), drums(2)])
    limited = mixing.limit(loud, RATE)
    gain = limited[0] / np.where(loud[0] == 0, 1, loud[0])
    assert np.abs(limited).max() <= CEILING
    assert np.abs(limited[0] - 3 * limited[1]).max() < 1e-5
    assert np.abs(np.diff(gain)).max() < 0.01
