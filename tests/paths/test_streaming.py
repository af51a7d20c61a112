"""What a listener hears is the clip at the model's own level, and the clip is the same whether somebody listens."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from musicgen_service import paths
from musicgen_service.audio.reading import Audio
from musicgen_service.listener import Sound
from tests.support.fake_music_model import HOP, RATE, FakeMusicModel, job_for
from tests.support.sounds import tone


class Ear:
    """A `Listener` that begins to listen when it has been asked a number of times whether it does."""

    def __init__(self, asked: int = 1) -> None:
        self._asked = asked
        self.sound: Sound | None = None
        self.pieces: list[np.ndarray] = []
        self.has_ended = False

    @property
    def is_listening(self) -> bool:
        self._asked -= 1
        return self._asked <= 0

    def refuse(self, reason: str) -> None:
        raise AssertionError(reason)

    def start(self, sound: Sound) -> None:
        self.sound = sound

    def hear(self, piece: np.ndarray) -> None:
        assert not self.has_ended
        self.pieces.append(piece)

    def end(self) -> None:
        self.has_ended = True

    @property
    def heard(self) -> np.ndarray:
        return np.concatenate(self.pieces, axis=1)


def model_of(channels: int = 1) -> FakeMusicModel:
    """A model with a window of 3 s."""
    return FakeMusicModel(lambda seed, length: tone(length, amplitude=0.1 + seed % 7 / 50)[0], channels, window=150)


GIVEN = Audio(tone(3.333, amplitude=0.2), RATE)
TASKS: dict[str, dict[str, Any]] = {
    "text": {"task": "text", "prompt": "rock"},
    "melody": {"task": "melody", "song": GIVEN},
    "continuation": {"task": "continuation", "continuation": True, "song": GIVEN},
    "chords": {"task": "chords", "text_chords": "Am F", "bpm": 120.0},
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [2.0, 4.0, 9.123])
@pytest.mark.parametrize("task", TASKS)
def test_what_is_heard_is_the_first_clip(task: str, seconds: float, channels: int) -> None:
    ear = Ear()
    seconds += 2 * (task == "continuation")
    inputs = TASKS[task] | {"duration": seconds, "variations": 2, "normalization_strategy": "clip"}
    job = replace(job_for(model_of(channels), **inputs), listener=ear)
    clips = list(paths.generate(job))
    assert ear.has_ended and ear.heard.shape == (channels, round(seconds * RATE))
    assert np.abs(ear.heard - clips[0].samples).max() < 1e-6
    assert ear.sound is not None
    assert ear.sound == Sound(job.samples, RATE, channels, "wav", ear.sound.real_time_factor)
    alone = list(paths.generate(job_for(model_of(channels), **inputs)))
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(clips, alone, strict=True))
    assert np.array_equal(np.concatenate(list(paths.stream(job)), axis=1), ear.heard)


def test_pieces_grow() -> None:
    ear = Ear()
    list(paths.generate(replace(job_for(model_of(), **TASKS["text"], duration=6.0), listener=ear)))
    assert [piece.shape[1] / HOP for piece in ear.pieces] == [10, 25, 50, 100, 100, 15]


def test_a_continuation_begins_with_its_input_at_once() -> None:
    ear = Ear()
    list(paths.generate(replace(job_for(model_of(), **TASKS["continuation"], duration=6.0), listener=ear)))
    assert ear.pieces[0].shape[1] / RATE == pytest.approx(3.323, abs=0.001)
    assert np.array_equal(ear.pieces[0], GIVEN.samples[:, : ear.pieces[0].shape[1]])


@pytest.mark.parametrize("asked", [2, 100, 183, 184])
def test_whoever_comes_late_hears_it_from_the_beginning(asked: int) -> None:
    ear = Ear(asked)  # once for each frame from the 18th on, and at the end
    [clip] = paths.generate(
        replace(job_for(model_of(), **TASKS["text"], duration=4.0, normalization_strategy="clip"), listener=ear)
    )
    assert np.abs(ear.heard - clip.samples).max() < 1e-6 and ear.has_ended


def test_nothing_is_made_for_nobody() -> None:
    ear = Ear(10_000)
    [clip] = paths.generate(replace(job_for(model_of(), **TASKS["text"], duration=4.0), listener=ear))
    assert clip.samples.shape[1] == 4 * RATE
    assert ear.sound is None and not ear.pieces and not ear.has_ended
