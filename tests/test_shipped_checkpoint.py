"""The shipped checkpoint through the complete service."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from demo import measure
from musicgen_service.audio import reading
from musicgen_service.models.store import WeightStore
from musicgen_service.service import MusicGenService
from tests.support.sounds import RATE

TASKS = ("text", "melody", "continuation", "encode-decode")
FORMATS = ("wav", "mp3", "flac", "ogg")


@pytest.fixture(scope="module")
def service() -> Iterator[MusicGenService]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MUSICGEN_WEIGHTS", raising=False)
        service = MusicGenService()
        service.setup(["demo"])
        yield service


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of synthesised music with a seed outside the training set."""
    from demo.synth import Synthesiser

    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, Synthesiser().song(987_654_321, 2.0).audio, RATE)
    return path


@pytest.mark.parametrize(("task", "name"), itertools.product(TASKS, FORMATS))
def test_every_task_in_every_format(service: MusicGenService, task: str, name: str, song: Path) -> None:
    inputs: dict[str, Any] = {"task": task, "output_format": name, "duration": 3, "model_version": "demo", "seed": 3}
    inputs |= {"prompt": "pop with drums, 120 bpm"} if task == "text" else {"input_audio": reading.read_input(song)}
    files, _ = service.generate(inputs)
    clip = reading.read(files[0])
    seconds = 2 if task == "encode-decode" else 3
    assert (clip.rate, clip.samples.shape) == (RATE, (1, seconds * RATE))
    decoded, _ = soundfile.read(files[0])  # reading.read would scale a decoded mp3 whose hits overshoot 1
    assert pyloudnorm.Meter(RATE).integrated_loudness(decoded) == pytest.approx(-14, abs=0.1)


def test_a_clip_is_neither_silence_nor_noise(service: MusicGenService) -> None:
    files, _ = service.generate(
        {"prompt": "pop with drums, 120 bpm", "duration": 8, "seed": 3, "model_version": "demo"}
    )
    sound = reading.read(files[0]).samples[0]
    spectrum = np.abs(np.fft.rfft(sound)) ** 2 + 1e-12
    flatness = np.exp(np.mean(np.log(spectrum))) / np.mean(spectrum)
    assert flatness < 0.1  # white noise: about 0.56
    loud = np.sqrt(np.mean(np.square(sound.reshape(-1, RATE // 2)), axis=1))
    assert loud.min() > 0.01


def test_shipped_checkpoint_is_intact() -> None:
    store = WeightStore(Path("weights"))
    files = [path for path in store.path("demo").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25_000_000
    assert max(path.stat().st_size for path in files) <= 15_000_000
    assert store.verify("demo") == []


@pytest.mark.slow
def test_a_piece_of_five_sections_and_three_minutes(service: MusicGenService) -> None:
    form = "intro 16 bars: no drums; verse 16 bars: with drums; chorus 16 bars: strings; break 8 bars: no drums"
    files, _ = service.generate(
        {
            "prompt": "lofi piano, 96 bpm",
            "sections": f"{form}; outro 40 s: soft drums",
            "seed": 3,
            "model_version": "demo",
        }
    )
    sound = reading.read(files[0]).samples[0]
    assert len(sound) == 180 * RATE
    seconds = sound.reshape(180, RATE)
    assert (np.sqrt((seconds**2).mean(axis=1)) > 1e-3).all()  # no second is silent
    assert measure.onset_energy(sound[45 * RATE : 75 * RATE]) > measure.onset_energy(sound[5 * RATE : 35 * RATE])
