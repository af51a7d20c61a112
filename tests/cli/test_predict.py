"""The command line: what `cog predict` takes, and what it prints."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service import cli
from musicgen_service.audio import recipe
from tests.audio.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")


def predict(*pairs: str, output: str | None = None) -> None:
    inputs = [word for pair in ("duration=1", "seed=5", *pairs) for word in ("-i", pair)]
    cli.main(["predict", *inputs, *(["-o", output] if output else [])])


def refusal(*arguments: str) -> str:
    with pytest.raises(SystemExit) as refused:
        cli.main(list(arguments))
    return str(refused.value)


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "ogg"])
def test_the_name_of_the_output_chooses_the_format(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    predict("prompt=rock", "model_version=small", output=f"new/clip.{name}")
    assert soundfile.info(f"new/clip.{name}").frames == RATE
    out = capsys.readouterr().out
    assert f"new/clip.{name}  1.00 s of audio, seed 5" in out and "made in" in out


def test_without_a_name_the_clip_keeps_its_own() -> None:
    predict("prompt=rock", "model_version=small")
    assert [path.name for path in Path().glob("*.wav")] == ["text-5-01.wav"]


def test_several_clips_are_numbered() -> None:
    predict("prompt=rock", "model_version=small", "variations=3", output="clip.wav")
    assert sorted(path.name for path in Path().glob("*.wav")) == ["clip-01.wav", "clip-02.wav", "clip-03.wav"]


def test_parts_are_named() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("task=remix", "input_audio=@riff.wav", "model_version=melody", "return_stems=true", output="clip.wav")
    made = sorted(path.name for path in Path().glob("clip*.wav"))
    assert made == ["clip-01.wav", "clip-01_backing.wav", "clip-01_vocals.wav"]


def test_files_are_given_by_path() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("input_audio=@riff.wav", "continuation=true", "model_version=small", output="longer.wav")
    assert soundfile.info("longer.wav").frames == RATE


def test_the_printed_recipe_makes_the_clip_again(capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    predict("prompt=rock & 'roll'", "model_version=small", "variations=2", output="clip.wav")
    capsys.readouterr()
    cli.main(["recipe", "clip-02.wav"])
    words = shlex.split(capsys.readouterr().out)
    cli.main([*words[3:-1], "again.wav"])
    first, second = (soundfile.read(path)[0] for path in ("clip-02.wav", "again.wav"))
    assert np.array_equal(first, second)
    assert recipe.read(Path("again.wav"))["prompt"] == "rock & 'roll'"


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("prompt", "error: 'prompt' is not of the form name=value."),
        ("tempo=90", "error: There is no input 'tempo'"),
        ("top_k=many", "error: top_k must be a whole number, not 'many'."),
        ("duration=long", "error: duration must be a number, not 'long'."),
        ("continuation=yes", "error: continuation must be true or false, not 'yes'."),
        ("input_audio=@missing.wav", "error: input_audio: there is no file missing.wav."),
        ("duration=0", "error: 2 problems: (1) duration must be a number from 1 to 600, not 0.0."),
        ("model_version=large", "weights fetch large"),
    ],
)
def test_a_mistake_is_one_sentence(pair: str, sentence: str) -> None:
    assert sentence in refusal("predict", "-i", pair)


def test_a_file_without_a_recipe_is_said() -> None:
    soundfile.write("plain.wav", tone(0.1)[0], RATE)
    assert "carries no recipe" in refusal("recipe", "plain.wav")
