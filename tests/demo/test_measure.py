"""Measurements of clips, against songs with known labels."""

import numpy as np
import pytest

from demo import measure
from demo.synth import SAMPLE_RATE, Synthesiser


def test_a_clip_is_similar_to_itself_and_less_to_another() -> None:
    first, second = (Synthesiser().song(seed).audio for seed in (1, 2))
    assert measure.chroma_cosine(first, first) == pytest.approx(1)
    assert measure.onset_correlation(first, first) == pytest.approx(1)
    assert measure.chroma_cosine(first, second) < 0.9
    assert measure.onset_correlation(first, second) < 0.5


@pytest.mark.parametrize("bpm", [90, 120, 150])
def test_tempo_of_a_rock_beat_is_read(bpm: int) -> None:
    song = Synthesiser().song(3, style="rock", drums=True, bpm=bpm, beats_per_bar=4)
    assert measure.tempo(song.audio) == pytest.approx(bpm, rel=0.04)


def test_onset_energy_is_higher_with_drums() -> None:
    beaten = Synthesiser().song(4, style="pop", drums=True)
    plain = Synthesiser().song(4, style="pop", drums=False)
    assert measure.onset_energy(beaten.audio) > measure.onset_energy(plain.audio) + 10


def test_key_of_a_scale_is_read() -> None:
    song = Synthesiser().song(5, key=9, mode="minor", drums=False, lead=False, beats_per_bar=4)
    assert measure.key(song.audio) in ("A minor", measure.relative_key("A minor"))
    assert measure.relative_key("A minor") == "C major"
    assert measure.relative_key("C major") == "A minor"


def test_longest_chord_distinguishes_a_drone_from_a_song() -> None:
    song = Synthesiser().song(5, bpm=120, drums=False, lead=False, beats_per_bar=4)
    first = song.audio[: 2 * SAMPLE_RATE]  # its first bar
    assert measure.longest_chord(song.audio) < 0.75
    assert measure.longest_chord(np.tile(first, 5)) > 0.9


def test_silence_and_noise_are_detected() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 5 * SAMPLE_RATE).astype(np.float32)
    assert measure.collapsed(np.zeros_like(noise)) == "silence"
    assert measure.collapsed(noise) == "noise"
    assert measure.collapsed(Synthesiser().song(6).audio) is None
