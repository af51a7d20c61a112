"""Every format stores the recipe of a clip, from which the command can be reconstructed."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service.audio import encoding, reading, recipe
from musicgen_service.audio.encoding import FORMATS
from musicgen_service.cli import inputs
from musicgen_service.requests.fields import FIELDS, MAX_TEXT_LENGTH
from tests.support.sounds import RATE, tone

AWKWARD = "r&b = \"so; #1\" \\ 'fun' naïve 爵士 🎷\n; [tag]\nx=y $HOME `ls`"


def written(folder: Path, name: str, **inputs: Any) -> dict[str, Any]:
    path = folder / f"clip.{name}"
    tags = recipe.tags({"task": "text", "output_format": name} | inputs)
    encoding.write(tone(0.2), RATE, path, tags)
    return recipe.read(path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_recipe(tmp_path: Path, name: str) -> None:
    stored = written(tmp_path, name, prompt=AWKWARD, seed=2**32 - 1, temperature=0.5, continuation=False)
    assert stored["prompt"] == AWKWARD
    assert (stored["seed"], stored["temperature"], stored["continuation"]) == (2**32 - 1, 0.5, False)


@pytest.mark.parametrize("name", FORMATS)
def test_names_of_files_need_not_be_text(tmp_path: Path, name: str) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    assert written(folder, name, prompt="rock")["prompt"] == "rock"
    song = (folder / f"clip.{name}").rename(folder / os.fsdecode(b"riff-\xff.wav"))
    audio = reading.read_input(song)
    assert audio.name == "riff-\ufffd.wav" and audio.seconds == pytest.approx(0.2, abs=0.05)
    assert encoding.seconds(song) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("name", FORMATS)
def test_the_longest_prompt_fits(tmp_path: Path, name: str) -> None:
    for prompt in ("🎷" * MAX_TEXT_LENGTH, "\x00" * MAX_TEXT_LENGTH):
        assert written(tmp_path, name, prompt=prompt, seed=1)["prompt"] == prompt


def test_command_has_the_same_inputs(tmp_path: Path) -> None:
    for prompt in (AWKWARD, "@home", "@@twice", "-o x"):
        stored = written(tmp_path, "wav", prompt=prompt, seed=3, continuation=False, bpm=None)
        words = shlex.split(recipe.command(stored, "/a python", Path("a clip.wav")))
        assert words[:4] == ["/a python", "-m", "musicgen_service", "predict"]
        assert words[-2:] == ["-o", "a clip.wav"]
        pairs = [words[index + 1] for index, word in enumerate(words) if word == "-i"]
        expected = {"task": "text", "output_format": "wav", "prompt": prompt, "seed": 3, "continuation": False}
        assert inputs.parse(pairs, FIELDS) == expected


def test_nul_character_in_a_recipe_is_an_error() -> None:
    with pytest.raises(recipe.RecipeError, match="NUL"):
        recipe.command({"prompt": "a\0b", "output_format": "wav"}, "python", Path("clip.wav"))


def test_input_audio_is_named_as_a_file() -> None:
    text = recipe.command(
        {"input_audio": "my song.wav", "input_audio_sha256": "00", "output_format": "mp3"}, "python", Path("clip.mp3")
    )
    assert "'input_audio=@my song.wav'" in text and "00" not in text


def test_file_of_other_origin_has_no_recipe(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "plain.wav", tone(0.1)[0], RATE)
    for name, sentence in (("plain.wav", "carries no recipe"), ("missing.wav", "There is no file")):
        with pytest.raises(recipe.RecipeError, match=sentence):
            recipe.read(tmp_path / name)


def test_title_is_short_and_one_line() -> None:
    assert recipe.tags({"prompt": "a\nb " * 100, "task": "text"}).title == ("a b " * 25)
