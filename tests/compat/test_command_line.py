"""`predict --as` and `serve --as`."""

from pathlib import Path

import pytest
import soundfile

from musicgen_service import cli, server, systems
from musicgen_service.audio import recipe
from tests.audio.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")


def predict(system: str, *pairs: str, output: str = "clip.wav") -> None:
    cli.main(["predict", "--as", system, "-o", output, *(word for pair in pairs for word in ("-i", pair))])


def refusal(system: str, *pairs: str, output: str = "clip.wav") -> str:
    with pytest.raises(SystemExit) as refused:
        predict(system, *pairs, output=output)
    return str(refused.value)


def test_the_inputs_are_the_systems() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("meta_musicgen", "input_audio=@riff.wav", "continuation=true", "duration=1", "seed=5")
    assert soundfile.info("clip.wav").frames == 1.5 * RATE
    assert recipe.read(Path("clip.wav"))["model_version"] == "melody"


def test_the_name_of_the_output_chooses_among_the_systems_formats() -> None:
    predict("meta_musicgen", "prompt=rock", "duration=1", output="clip.mp3")
    assert soundfile.info("clip.mp3").format == "MP3"
    refused = refusal("meta_musicgen", "prompt=rock", output="clip.flac")
    assert refused == "error: output_format must be one of wav, mp3, not 'flac'."


def test_a_mistake_is_one_sentence() -> None:
    assert "There is no input 'bpm': use some of model_version, prompt," in refusal("m3maker", "bpm=90")
    assert "duration must be a whole number up to 30, not 31." in refusal("meta_musicgen", "prompt=a", "duration=31")
    assert "'large' is not in the weights folder" in refusal("m3maker", "prompt=a", "model_version=large")
    assert "weights fetch medium" in refusal("musicgen_looper", "prompt=a")
    assert refusal("musicgen_remixer", "prompt=a") == "error: Task 'remix' needs music_input."


def test_only_known_systems_have_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--as", "riffusion"])
    assert "choose from" in (told := capsys.readouterr().err)
    assert all(name in told for name in systems.names())


def test_serve_starts_the_systems_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int, str | None]] = []
    monkeypatch.setattr(server, "serve", lambda *arguments: started.append(arguments))
    cli.main(["serve", "--as", "m3maker", "--port", "7000"])
    cli.main(["serve"])
    assert started == [("127.0.0.1", 7000, "m3maker"), ("127.0.0.1", 5000, None)]
