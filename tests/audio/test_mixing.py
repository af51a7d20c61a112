"""The mix of a remix has the balance of the song and never clips."""

import numpy as np
import pytest

from musicgen_service.audio import mixing
from musicgen_service.audio.lufs import integrated_loudness
from tests.support.sounds import RATE, drums, tone

CEILING = 10 ** (-1 / 20) + 1e-6


@pytest.mark.parametrize("strategy", ["loudness", "clip", "peak", "rms"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_mix_never_clips(strategy: str, channels: int) -> None:
    mix = mixing.mix(drums(4, channels), 3 * tone(4, channels), drums(4, channels), RATE, strategy)
    for part in (mix.full, mix.backing, mix.vocals):
        assert part.shape == (channels, 4 * RATE) and part.dtype == np.float32
        assert np.abs(part).max() <= CEILING


def test_mix_has_the_requested_loudness() -> None:
    mix = mixing.mix(tone(4), tone(4, amplitude=0.1), tone(4), RATE, "loudness")
    assert integrated_loudness(mix.full, RATE) == pytest.approx(-14, abs=0.1)


@pytest.mark.parametrize("level", [0.01, 0.3, 1.0])
def test_the_backing_is_as_loud_as_what_it_replaces(level: float) -> None:
    voice, song = drums(4), tone(4, amplitude=0.2)
    mix = mixing.mix(tone(4, amplitude=level), voice, song, RATE, "clip")
    assert integrated_loudness(mix.backing, RATE) == pytest.approx(integrated_loudness(song, RATE), abs=0.1)


def test_parts_add_up_to_the_mix_without_limiting() -> None:
    mix = mixing.mix(tone(4), tone(4, amplitude=0.1), tone(4, amplitude=0.2), RATE, "rms")
    assert np.abs(mix.backing + mix.vocals - mix.full).max() < 0.01


def test_backing_is_as_loud_as_vocals_that_were_alone() -> None:
    silence, voice = np.zeros((1, 4 * RATE), np.float32), tone(4, amplitude=0.1)
    mix = mixing.mix(tone(4), voice, silence, RATE, "clip")
    assert integrated_loudness(mix.backing, RATE) == pytest.approx(integrated_loudness(voice, RATE), abs=0.1)


def test_silence_mixes_to_silence() -> None:
    silence = np.zeros((2, RATE), np.float32)
    mix = mixing.mix(silence, silence, silence, RATE, "loudness")
    assert not mix.full.any() and np.isfinite(mix.full).all()


def test_separation_residue_does_not_count_as_vocals() -> None:
    song = tone(4)
    assert mixing.has_vocals(0.7 * song, song, RATE)
    assert not mixing.has_vocals(0.3 * song, song, RATE)
    assert not mixing.has_vocals(0 * song, song, RATE)
    assert not mixing.has_vocals(0 * song, 0 * song, RATE)
    assert mixing.has_vocals(song, 0 * song, RATE)


def test_vocals_of_a_single_word_are_vocals() -> None:
    song, vocals = tone(4), 0.1 * tone(4)
    vocals[:, RATE : 2 * RATE] = song[:, RATE : 2 * RATE]
    assert mixing.has_vocals(vocals, song, RATE)


def test_the_residue_of_a_voice_alone_is_no_band_to_be_as_loud_as() -> None:
    voice = tone(4, amplitude=0.2)
    mix = mixing.mix(tone(4), voice, 0.08 * voice, RATE, "clip")
    assert integrated_loudness(mix.backing, RATE) == pytest.approx(integrated_loudness(voice, RATE), abs=0.1)


def test_limiter_does_not_change_quiet_audio() -> None:
    assert np.array_equal(mixing.limit(tone(1), RATE), tone(1))


def test_limiter_gain_is_smooth_and_equal_in_all_channels() -> None:
    loud = np.concatenate([3 * drums(2), drums(2)])
    limited = mixing.limit(loud, RATE)
    gain = limited[0] / np.where(loud[0] == 0, 1, loud[0])
    assert np.abs(limited).max() <= CEILING
    assert np.abs(limited[0] - 3 * limited[1]).max() < 1e-5
    assert np.abs(np.diff(gain)).max() < 0.01
