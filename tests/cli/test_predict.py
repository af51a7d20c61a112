"""The command `predict`: inputs, output files, and printed results."""

import json
import shlex
import stat
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from musicgen_service import cli
from musicgen_service.audio import recipe
from musicgen_service.notes import note
from musicgen_service.paths import loop
from musicgen_service.service import MusicGenService
from tests.support.command import Capture, found, predict
from tests.support.shell import refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp3", "clip.flac", "clip.ogg", "clip.MP3", "CLIP.Flac"])
def test_output_name_selects_the_format(name: str, capsys: Capture) -> None:
    predict("rock", "-o", f"new/{name}")
    info = soundfile.info(f"new/{name}")
    assert (info.frames, info.format) == (RATE, name.rpartition(".")[2].upper())
    assert found() == ["new", f"new/{name}"]
    out = capsys.readouterr().out
    assert f"new/{name}  1.00 s of audio, seed 5\nmade in " in out


def test_default_output_has_the_services_name() -> None:
    predict("rock")
    assert found() == ["rock_s5.wav"]


@pytest.mark.parametrize("output", ["here", "here/", "here/.", "new/", "new/deep/", "."])
def test_a_folder_means_files_in_it(output: str) -> None:
    Path("here").mkdir()
    predict("rock", "-o", output)
    assert Path(output, "rock_s5.wav").is_file()


def test_several_clips_are_numbered() -> None:
    predict("rock", "--variations", "3", "-o", "clip.wav")
    assert found() == ["clip-01.wav", "clip-02.wav", "clip-03.wav"]


def test_failed_loop_does_not_renumber_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.generate
    monkeypatch.setattr(loop, "generate", lambda job: list(whole(job))[1:])
    cli.main("predict rock --task loop --bpm 120 --duration 2 --variations 2 -o clip.wav".split())
    assert found() == ["clip-02.wav"]


def test_parts_are_named() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    cli.main(
        ["predict", "--task=remix", "--input-audio=riff.wav", "--model-version=melody", "--return-stems", "-oa.wav"]
    )
    assert found() == ["a-backing.wav", "a-vocals.wav", "a.wav", "riff.wav"]


def test_file_has_default_permissions() -> None:
    predict("rock", "-o", "clip.wav")
    Path("other").touch()
    assert stat.S_IMODE(Path("clip.wav").stat().st_mode) == stat.S_IMODE(Path("other").stat().st_mode)


def test_files_are_given_by_path() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    predict("-i", "input_audio=@riff.wav", "--continuation", "-o", "longer.wav")
    predict("--input_audio", "riff.wav", "--continuation", "-o", "same.wav")
    first, second = (soundfile.read(path)[0] for path in ("longer.wav", "same.wav"))
    assert len(first) == RATE and np.array_equal(first, second)


@pytest.mark.parametrize("arguments", [["rock"], ["-i", "prompt=rock"], ["--prompt", "rock"], ["--prompt=@words.txt"]])
def test_prompt_can_be_given_in_several_ways(arguments: list[str]) -> None:
    Path("words.txt").write_text("rock\n")
    predict(*arguments, "-o", "clip.wav")
    assert recipe.read(Path("clip.wav"))["prompt"] == "rock"


def test_text_can_start_with_an_at_sign() -> None:
    predict("@@home", "-o", "clip.wav")
    assert recipe.read(Path("clip.wav"))["prompt"] == "@home"


def test_drawn_seed_is_the_one_used(capsys: Capture) -> None:
    cli.main(["predict", "rock", "--duration=1", "--json"])
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert file["path"] == f"rock_s{file['seed']}.wav"
    assert found() == [file["path"]]


def test_json_has_everything_and_nothing_else_is_printed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MusicGenService.generate

    def generate(self: MusicGenService, *arguments: Any) -> Any:
        print("a library that prints")
        note("the guitar is out of tune")
        return original(self, *arguments)

    monkeypatch.setattr(MusicGenService, "generate", generate)
    predict("rock", "--variations", "2", "-o", "a.mp3", "--json")
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert [file["path"] for file in result["files"]] == ["a-01.mp3", "a-02.mp3"]
    assert [file["seconds"] for file in result["files"]] == [1.0, 1.0]
    assert [file["seed"] for file in result["files"]] == result["metrics"]["seeds"]
    assert result["files"][0]["recipe"]["prompt"] == "rock"
    assert result["metrics"]["predict_time"] > 0
    assert "a library that prints" in captured.err


def test_standard_output_gets_the_clip_and_nothing_else(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    predict("rock", "-o", "-")
    written = capfdbinary.readouterr()
    predict("rock", "-o", "clip.wav")
    assert written.out == Path("clip.wav").read_bytes()
    assert b"-  1.00 s of audio, seed 5" in written.err
    assert found() == ["clip.wav"]


def test_force_overwrites() -> None:
    Path("clip.wav").write_text("old")
    predict("rock", "-o", "clip.wav", "--force")
    assert soundfile.info("clip.wav").frames == RATE


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, ["clip.flac", "clip.mid"]), (2, ["clip-01.flac", "clip-01.mid", "clip-02.flac", "clip-02.mid"])],
)
def test_midi_files_lie_beside_the_clips(count: int, expected: list[str], capsys: Capture) -> None:
    predict("rock", f"--variations={count}", "--return-midi", "-o", "clip.flac", "--json")
    assert found() == expected
    files = json.loads(capsys.readouterr().out)["files"]
    assert [(file["path"], file["midi"]) for file in files] == list(zip(expected[::2], expected[1::2], strict=True))
    assert mido.MidiFile(expected[1]).length == pytest.approx(1, abs=2e-3)
    assert "-o - takes one file, and there may be 2" in refusal(capsys, "predict", "rock", "--return-midi", "-o", "-")


def test_an_existing_midi_file_is_not_overwritten(capsys: Capture) -> None:
    Path("clip.mid").write_text("mine")
    assert "clip.mid exists already" in refusal(capsys, "predict", "rock", "--return-midi", "-o", "clip.wav")
    assert found() == ["clip.mid"]


@pytest.mark.parametrize("name", ["clip-02.wav", "it's a clip.wav"])
def test_the_printed_recipe_makes_the_clip_again(name: str, capsys: Capture) -> None:
    predict("rock & 'roll' $HOME", "--variations=2", "-o", "clip.wav")
    Path("clip-02.wav").rename(name)
    Path(f"{Path(name).stem}-again.wav").touch()
    capsys.readouterr()
    cli.main(["recipe", name])
    words = shlex.split(capsys.readouterr().out)
    assert Path(words[0]).name.startswith("python") and words[1:3] == ["-m", "musicgen_service"]
    cli.main(words[3:])
    first, second = (soundfile.read(path)[0] for path in (name, f"{Path(name).stem}-again2.wav"))
    assert np.array_equal(first, second)
    assert recipe.read(Path(words[-1]))["prompt"] == "rock & 'roll' $HOME"
