"""The new music of a continuation is as loud as what it goes on from, also where the codec changes levels."""

import numpy as np
import pytest
import torch

from musicgen_service.audio.loudness import amplitude
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.audio.reading import Audio
from musicgen_service.paths import continuation
from musicgen_service.paths.job import Job
from tests.support.fake_music_model import RATE, FakeMusicModel, job_for
from tests.support.sounds import drums, tone


class LevelChangingModel(FakeMusicModel):
    """A model whose codec changes the level of everything by `change_db`."""

    change_db = -10.0

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        return super().encode(audio * amplitude(self.change_db))


def continued(given: np.ndarray, change_db: float, seconds: float = 10.0) -> np.ndarray:
    model = LevelChangingModel(lambda _seed, length: tone(length, amplitude=0.25)[0])
    model.change_db = change_db
    job: Job = job_for(
        model,
        Audio(given, RATE),
        task="continuation",
        continuation=True,
        duration=seconds,
        normalization_strategy="clip",
    )
    [clip] = continuation.generate(job)
    assert clip.samples.shape == (1, round(seconds * RATE))
    return clip.samples


@pytest.mark.parametrize("change_db", [-10.0, 0.0, 5.0])
def test_new_music_is_as_loud_as_the_given_audio(change_db: float) -> None:
    given = tone(5, amplitude=0.25)
    clip = continued(given, change_db)
    before, after = (integrated_loudness(part, RATE) for part in np.split(clip, 2, axis=1))
    assert after == pytest.approx(before, abs=0.2)
    assert np.array_equal(clip[:, : given.shape[1] - RATE // 100], given[:, : -RATE // 100])


@pytest.mark.parametrize("given", [np.zeros((1, 5 * RATE), np.float32), drums(5) * np.float32(1e-4)])
def test_silence_does_not_amplify_the_new_music(given: np.ndarray) -> None:
    clip = continued(given, 0.0)
    assert np.abs(clip).max() <= 0.26


def test_a_change_beyond_twelve_decibels_is_not_undone() -> None:
    clip = continued(tone(5, amplitude=0.25), -30.0)
    before, after = (integrated_loudness(part, RATE) for part in np.split(clip, 2, axis=1))
    assert after - before == pytest.approx(-18, abs=0.5)
