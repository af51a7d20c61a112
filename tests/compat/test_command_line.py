"""`predict --as` and `serve --as`."""

from pathlib import Path

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


def test_the_inputs_are_the_systems() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("meta_musicgen", "input_audio=@riff.wav", "continuation=true", "duration=1", "seed=5")
    assert soundfile.info("clip.wav").frames == 1.5 * RATE
    assert recipe.read(Path("clip.wav"))["model_version"] == "melody"


def test_the_name_of_the_output_chooses_among_the_systems_formats(capsys: Capture) -> None:
    predict("meta_musicgen", "prompt=rock", "duration=1", output="clip.mp3")
    assert soundfile.info("clip.mp3").format == "MP3"
    told = refused(capsys, "meta_musicgen", "prompt=rock", output="clip.flac", status=2)
    assert told == "error: -o clip.flac has the extension .flac: end the name in .wav or .mp3, or in / for a folder."


def test_a_systems_inputs_are_options_too() -> None:
    cli.main("predict rock --as meta_musicgen --duration 1 --seed 5 -o clip.wav".split())
    assert recipe.read(Path("clip.wav"))["prompt"] == "rock"


def test_error_is_one_sentence(capsys: Capture) -> None:
    told = refused(capsys, "m3maker", "bpm=90", status=2)
    assert "There is no input 'bpm': use some of model_version, prompt," in told
    told = refused(capsys, "meta_musicgen", "prompt=a", "duration=31")
    assert "duration must be a whole number up to 30, not 31." in told
    told = refused(capsys, "m3maker", "prompt=a", "model_version=large")
    assert "'large' is not in the weights folder" in told
    assert "weights fetch medium" in refused(capsys, "musicgen_looper", "prompt=a")
    assert refused(capsys, "musicgen_remixer", "prompt=a") == "error: Task 'remix' needs music_input."
    assert "There is no option '--bpm'" in refusal(capsys, "predict", "a", "--bpm", "90", "--as=m3maker")


def test_only_known_systems_have_a_place(capsys: Capture) -> None:
    told = refusal(capsys, "serve", "--as", "riffusion")
    assert told == f"error: --as must be one of {', '.join(predictors.names())}, not 'riffusion'."


def test_serve_starts_the_systems_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int, str | None]] = []
    monkeypatch.setattr(cog_server, "serve", lambda *arguments: started.append(arguments))
    cli.main(["serve", "--as", "m3maker", "--port", "7000"])
    cli.main(["serve"])
    assert started == [("127.0.0.1", 7000, "m3maker"), ("127.0.0.1", 5000, None)]
