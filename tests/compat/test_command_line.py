"""`predict --as` and `serve --as`."""

from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service import cli, predictors
from musicgen_service.audio import recipe
from musicgen_service.serving import cog_server
from tests.support.shell import refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")
Capture = pytest.CaptureFixture[str]


def predict(system: str, *pairs: str, output: str = "clip.wav") -> None:
    cli.main(["predict", "--as", system, "-o", output, *(word for pair in pairs for word in ("-i", pair))])


def refused(capsys: Capture, system: str, *pairs: str, output: str = "new.wav", status: int = 1) -> str:
    words = [word for pair in pairs for word in ("-i", pair)]
    return refusal(capsys, "predict", "--as", system, "-o", output, *words, status=status)


def test_inputs_are_those_of_the_system() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("meta_musicgen", "input_audio=@riff.wav", "continuation=true", "duration=1", "seed=5")
    assert soundfile.info("clip.wav").frames == 1.5 * RATE
    assert recipe.read(Path("clip.wav"))["model_version"] == "melody"


def test_output_name_selects_a_format_of_the_system(capsys: Capture) -> None:
    predict("meta_musicgen", "prompt=rock", "duration=1", output="clip.mp3")
    assert soundfile.info("clip.mp3").format == "MP3"
    message = refused(capsys, "meta_musicgen", "prompt=rock", output="clip.flac", status=2)
    assert message == "error: -o clip.flac has the extension .flac: end the name in .wav or .mp3, or in / for a folder."


def test_a_systems_inputs_are_options_too() -> None:
    cli.main("predict rock --as meta_musicgen --duration 1 --seed 5 -o clip.wav".split())
    assert recipe.read(Path("clip.wav"))["prompt"] == "rock"


def test_a_mistake_is_one_sentence(capsys: Capture) -> None:
    message = refused(capsys, "m3maker", "bpm=90", status=2)
    assert "There is no input 'bpm': use some of model_version, prompt," in message
    message = refused(capsys, "meta_musicgen", "prompt=a", "duration=31")
    assert "duration must be a whole number up to 30, not 31." in message
    message = refused(capsys, "m3maker", "prompt=a", "model_version=large")
    assert "'large' is not in the weights folder" in message
    assert "weights fetch medium" in refused(capsys, "musicgen_looper", "prompt=a")
    assert refused(capsys, "musicgen_remixer", "prompt=a") == "error: Task 'remix' needs music_input."
    assert "There is no option '--bpm'" in refusal(capsys, "predict", "a", "--bpm", "90", "--as=m3maker")


def test_unknown_system_is_rejected(capsys: Capture) -> None:
    message = refusal(capsys, "serve", "--as", "riffusion")
    assert message == f"error: --as must be one of {', '.join(predictors.names())}, not 'riffusion'."


def test_serve_starts_the_drop_in(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cog_server, "serve", lambda *arguments, **options: started.append(arguments))
    cli.main(["serve", "--as", "m3maker", "--port", "7000"])
    cli.main(["serve"])
    assert started == [("127.0.0.1", 7000, "m3maker"), ("127.0.0.1", 5000, None)]
