"""`predict`: what it takes, where the clips go, and what it prints."""

import json
import os
import shlex
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service import cli, client_errors, naming
from musicgen_service.audio import recipe
from musicgen_service.notes import note
from musicgen_service.paths import loop
from musicgen_service.service import MusicGenService
from musicgen_service.serving import cog_runner
from tests.support.shell import ending, refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model is a mistake."""

    def load(_self: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(cog_runner.ServiceRunner, "setup", load)


def predict(*arguments: str) -> None:
    cli.main(["predict", "--duration", "1", "--seed", "5", "--model_version", "small", *arguments])


def found() -> list[str]:
    """All files and folders here, hidden ones too."""
    return sorted(str(path) for path in Path().rglob("*"))


def left_by_requests(folder: Path) -> list[Path]:
    """The sound files, finished or not, that are still among a process's temporary files."""
    return list(folder.rglob("*.wav"))


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp3", "clip.flac", "clip.ogg", "clip.MP3", "CLIP.Flac"])
def test_the_name_of_the_output_chooses_the_format(name: str, capsys: Capture) -> None:
    predict("rock", "-o", f"new/{name}")
    info = soundfile.info(f"new/{name}")
    assert (info.frames, info.format) == (RATE, name.rpartition(".")[2].upper())
    assert found() == ["new", f"new/{name}"]
    out = capsys.readouterr().out
    assert f"new/{name}  1.00 s of audio, seed 5\nmade in " in out


def test_without_a_name_the_clip_keeps_its_own() -> None:
    predict("rock")
    assert found() == ["text-5-01.wav"]


@pytest.mark.parametrize("output", ["here", "here/", "here/.", "new/", "new/deep/", "."])
def test_a_folder_means_files_in_it(output: str) -> None:
    Path("here").mkdir()
    predict("rock", "-o", output)
    assert Path(output, "text-5-01.wav").is_file()


def test_several_clips_are_numbered() -> None:
    predict("rock", "--variations", "3", "-o", "clip.wav")
    assert found() == ["clip-01.wav", "clip-02.wav", "clip-03.wav"]


def test_a_loop_that_fails_leaves_the_numbers_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.generate
    monkeypatch.setattr(loop, "generate", lambda job: list(whole(job))[1:])
    cli.main("predict rock --task loop --bpm 120 --duration 2 --variations 2 -o clip.wav".split())
    assert found() == ["clip-02.wav"]


def test_parts_are_named() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    cli.main(
        ["predict", "--task=remix", "--input-audio=riff.wav", "--model-version=melody", "--return-stems", "-oa.wav"]
    )
    assert found() == ["a-01.wav", "a-01_backing.wav", "a-01_vocals.wav", "riff.wav"]


def test_a_file_has_the_rights_of_any_other() -> None:
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
def test_the_prompt_can_be_given_in_each_of_these_ways(arguments: list[str]) -> None:
    Path("words.txt").write_text("rock\n")
    predict(*arguments, "-o", "clip.wav")
    assert recipe.read(Path("clip.wav"))["prompt"] == "rock"


def test_a_text_may_begin_with_the_mark_of_files() -> None:
    predict("@@home", "-o", "clip.wav")
    assert recipe.read(Path("clip.wav"))["prompt"] == "@home"


def test_the_seed_that_was_drawn_is_the_one_that_is_used(capsys: Capture) -> None:
    cli.main(["predict", "rock", "--duration=1", "--json"])
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert file["path"] == f"text-{file['seed']}-01.wav"
    assert found() == [file["path"]]


def test_json_has_everything_and_nothing_else_is_printed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MusicGenService.generate

    def generate(self: MusicGenService, inputs: Any) -> Any:
        print("a library that prints")
        note("the guitar is out of tune")
        return original(self, inputs)

    monkeypatch.setattr(MusicGenService, "generate", generate)
    predict("rock", "--variations", "2", "-o", "a.mp3", "--json")
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert [file["path"] for file in result["files"]] == ["a-01.mp3", "a-02.mp3"]
    assert [file["seconds"] for file in result["files"]] == [1.0, 1.0]
    assert [file["seed"] for file in result["files"]] == result["metrics"]["seeds"]
    assert result["files"][0]["recipe"]["prompt"] == "rock"
    assert result["metrics"]["predict_time"] > 0
    assert "a library that prints" in told.err


def test_standard_output_gets_the_clip_and_nothing_else(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    predict("rock", "-o", "-")
    written = capfdbinary.readouterr()
    predict("rock", "-o", "clip.wav")
    assert written.out == Path("clip.wav").read_bytes()
    assert b"-  1.00 s of audio, seed 5" in written.err
    assert found() == ["clip.wav"]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "clip.m4a",
            "-o clip.m4a has the extension .m4a: end the name in .wav, .mp3, .flac or .ogg, or in / for a folder.",
        ),
        ("clip", "-o clip has no extension: end the name in .wav, .mp3, .flac or .ogg, or in / for a folder."),
        (".wav", "-o .wav has no extension: end the name in .wav, .mp3, .flac or .ogg, or in / for a folder."),
        ("", "-o is empty: name a file, a folder, or - for standard output."),
        ("taken.wav", "taken.wav exists already: choose another name, or overwrite it with --force."),
        ("dangling.wav", "dangling.wav exists already: choose another name, or overwrite it with --force."),
        ("taken.wav/", "taken.wav is a file, not a folder."),
        ("taken.wav/clip.wav", "taken.wav is a file, not a folder."),
        ("taken.wav/new/clip.wav", "The folder taken.wav/new cannot be made: Not a directory."),
        ("full", "full/text-5-01.wav exists already: choose another name, or overwrite it with --force."),
        ("/proc/clip.wav", "The folder /proc cannot be written to: No such file or directory."),
        ("/proc/new/clip.wav", "The folder /proc/new cannot be made: No such file or directory."),
    ],
)
def test_a_place_that_will_not_do_is_refused_first(output: str, sentence: str, capsys: Capture) -> None:
    Path("taken.wav").touch()
    Path("dangling.wav").symlink_to("nothing")
    Path("full").mkdir()
    Path("full/text-5-01.wav").touch()
    before = found()
    with pytest.raises(SystemExit):
        predict("rock", "-o", output)
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert found() == before


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("-o clip.wav", "clip-02.wav exists already: choose another name, or overwrite it with --force."),
        ("-o -", "-o - takes one file, and there may be 2: name a folder."),
        ("-o - --json", "-o - and --json both write to standard output: leave one of them out."),
        ("-o a.wav -i output_format=mp3", "-o a.wav and output_format=mp3 contradict each other: leave one of them"),
        ("", "text-5-02.wav exists already: choose another name, or overwrite it with --force."),
    ],
)  # fmt: skip
def test_several_files_are_looked_at_too(arguments: str, sentence: str, capsys: Capture) -> None:
    for name in ("clip-02.wav", "text-5-02.wav"):
        Path(name).touch()
    before = found()
    with pytest.raises(SystemExit):
        predict("rock", "--variations", "2", *arguments.split())
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
    assert found() == before


def test_a_name_that_is_too_long_is_refused_first(capsys: Capture) -> None:
    name = f"{'long' * 100}.wav"
    assert ending(capsys, lambda: predict("rock", "-o", name), 1) == f"error: {name}: File name too long."


def test_force_overwrites() -> None:
    Path("clip.wav").write_text("old")
    predict("rock", "-o", "clip.wav", "--force")
    assert soundfile.info("clip.wav").frames == RATE


@pytest.mark.usefixtures("no_model")
def test_a_folder_is_not_overwritten_even_so(capsys: Capture) -> None:
    Path("clip-01.wav").mkdir()
    with pytest.raises(SystemExit):
        predict("rock", "--variations", "2", "-o", "clip.wav", "--force")
    assert "clip-01.wav is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reason", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("out of luck"), 1, "error: Something went wrong inside the service"),
        (SystemExit(143), 143, ""),
    ],
)
def test_what_ends_early_leaves_nothing(
    reason: BaseException,
    status: int,
    sentence: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    temporary: Path,
) -> None:
    def write(*_: object) -> None:
        assert Path("new/deep").is_dir()
        raise reason

    monkeypatch.setattr("musicgen_service.audio.encoding.write", write)
    told = ending(capsys, lambda: predict("rock", "-o", "new/deep/clip.wav"), status)
    assert told.startswith(sentence)
    assert found() == [] and left_by_requests(temporary) == []


def test_a_clip_that_cannot_be_put_in_its_place_is_kept(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    def copy(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musicgen_service.cli.files.shutil.copyfile", copy)
    told = ending(capsys, lambda: predict("rock", "-o", "new/clip.wav"), 1)
    assert told.startswith("error: new/clip.wav could not be written: No space left on device; what was made is in ")
    [kept] = left_by_requests(temporary)
    assert told.endswith(f"{kept.parent}.") and soundfile.info(kept).frames == RATE
    assert found() == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MusicGenService.generate

    def generate(self: MusicGenService, inputs: Any) -> Any:
        Path("clip.wav").write_text("somebody else's")
        return original(self, inputs)

    monkeypatch.setattr(MusicGenService, "generate", generate)
    told = ending(capsys, lambda: predict("rock", "-o", "clip.wav"), 1)
    assert "clip.wav could not be written: File exists; what was made is in" in told
    assert Path("clip.wav").read_text() == "somebody else's"


def test_a_failure_inside_is_one_sentence(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object) -> None:
        raise client_errors.ServiceError("The service has no room left to write files: try again later.")

    monkeypatch.setattr(MusicGenService, "generate", generate)
    assert ending(capsys, lambda: predict("rock"), 1).startswith("error: ")


def test_nothing_of_a_clip_stays_among_temporary_files(
    temporary: Path,
) -> None:
    predict("rock", "--variations", "2")
    assert left_by_requests(temporary) == [] and not list(temporary.rglob("request-*"))


def test_the_names_of_files_are_known_before_they_are_made() -> None:
    assert naming.label(3) == "03" and naming.label(3, "vocals") == "03_vocals"


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


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("prompt", "error: -i prompt is not of the form name=value: did you mean prompt=...?"),
        ("jazz", "error: -i jazz is not of the form name=value."),
        ("tempo=90", "error: There is no input 'tempo': use some of prompt, model_version,"),
        ("temprature=1", "error: There is no input 'temprature' (did you mean 'temperature'?): use some of prompt,"),
        ("top_k=many", "error: top_k must be a whole number from 0 to 2048, not 'many'."),
        ("duration=long", "error: duration must be a number from 1 to 600, not 'long'."),
        ("continuation=yes", "error: continuation must be true or false, not 'yes'."),
        ("task=lop", "encode-decode, not 'lop' (did you mean 'loop'?)."),
        ("model_version=stereo", "not 'stereo' (did you mean 'stereo-"),
        ("input_audio=@missing.wav", "error: input_audio: there is no file missing.wav."),
        ("input_audio=@.", "error: input_audio: . is a folder, not a file."),
        ("input_audio=@pipe", "error: input_audio: pipe is not a regular file."),
        ("prompt=@missing.txt", "error: prompt: there is no file missing.txt; write @@ for a text that starts with @."),
        ("prompt=@sound.bin", "error: prompt: sound.bin is not text in UTF-8."),
    ],
)  # fmt: skip
def test_a_mistake_in_an_input_is_one_sentence(pair: str, sentence: str, capsys: Capture) -> None:
    Path("sound.bin").write_bytes(b"\xff\xfe\x00")
    os.mkfifo("pipe")
    assert sentence in refusal(capsys, "predict", "-i", pair)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("duration=0", "error: 2 problems: (1) duration must be a number from 1 to 600, not 0.0."),
        ("model_version=large", "weights fetch large"),
    ],
)
def test_a_request_that_cannot_succeed_is_refused_before_a_model_is_loaded(
    pair: str, sentence: str, capsys: Capture
) -> None:
    assert sentence in refusal(capsys, "predict", "-i", pair, status=1)


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("a --prompt b", "prompt is given twice: leave one of them out."),
        ("a --duration 3 -i duration=4", "duration is given twice: leave one of them out."),
        ("lofi piano", "'piano' is one word too many: a text of several words needs quotes around it."),
        ("a --duraton 3", "There is no option '--duraton' (did you mean '--duration'?)"),
        ("a --duraton=3", "There is no option '--duraton' (did you mean '--duration'?)"),
        ("a --dur 3", "There is no option '--dur'"),
        ("a --duration", "Argument --duration: expected one argument: see `python -m musicgen_service predict -"),
        ("a --as m3makr", "not 'm3makr' (did you mean 'm3maker'?)."),
    ],
)  # fmt: skip
def test_a_mistake_in_an_option_is_one_sentence(arguments: str, sentence: str, capsys: Capture) -> None:
    assert sentence in refusal(capsys, "predict", *arguments.split())
