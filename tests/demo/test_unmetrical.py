"""Sounds without a beat."""

import numpy as np
import pytest

from demo import unmetrical
from demo.synth import SAMPLE_RATE


@pytest.mark.parametrize(
    "kind", [unmetrical.tones, unmetrical.noise, unmetrical.calls, unmetrical.pads, unmetrical.notes]
)
def test_sounds_are_scaled_and_the_same_again(kind: unmetrical.Kind) -> None:
    audio, again = (kind(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(audio, again) and audio.dtype == np.float32
    assert 5 * SAMPLE_RATE <= len(audio) <= 25 * SAMPLE_RATE
    assert np.abs(audio).max() == pytest.approx(1.0)


def test_speech_needs_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(unmetrical, "PROMPTS", tmp_path_factory.mktemp("none"))
    with pytest.raises(FileNotFoundError, match=r"apt-get install asterisk-core-sounds-[a-z]{2}-wav"):
        unmetrical.speech(np.random.default_rng(0))
