"""Failures of `predict`: rejected command lines, and cleanup after an early end."""

import os
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service import client_errors
from musicgen_service.service import MusicGenService
from musicgen_service.serving import cog_runner
from tests.support.command import Capture, found, predict
from tests.support.shell import ending, refusal
from tests.support.sounds import RATE

pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is loaded."""

    def load(_self: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(cog_runner.ServiceRunner, "setup", load)


def left_by_requests(folder: Path) -> list[Path]:
    """The audio files, finished or not, that remain among a process's temporary files."""
    return list(folder.rglob("*.wav"))


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
        ("full", "full/rock_s5.wav exists already: choose another name, or overwrite it with --force."),
        ("/proc/clip.wav", "The folder /proc cannot be written to: No such file or directory."),
        ("/proc/new/clip.wav", "The folder /proc/new cannot be made: No such file or directory."),
    ],
)
def test_invalid_target_is_rejected_first(output: str, sentence: str, capsys: Capture) -> None:
    Path("taken.wav").touch()
    Path("dangling.wav").symlink_to("nothing")
    Path("full").mkdir()
    Path("full/rock_s5.wav").touch()
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
        ("", "rock_90bpm_Am_s5_02.wav exists already: choose another name, or overwrite it with --force."),
    ],
)  # fmt: skip
def test_all_of_several_targets_are_checked(arguments: str, sentence: str, capsys: Capture) -> None:
    # The tempo and the key of what will be made are not known yet.
    for name in ("clip-02.wav", "rock_90bpm_Am_s5_02.wav"):
        Path(name).touch()
    before = found()
    with pytest.raises(SystemExit):
        predict("rock", "--variations", "2", *arguments.split())
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
    assert found() == before


def test_a_name_that_is_too_long_is_refused_first(capsys: Capture) -> None:
    name = f"{'long' * 100}.wav"
    assert ending(capsys, lambda: predict("rock", "-o", name), 1) == f"error: {name}: File name too long."


@pytest.mark.usefixtures("no_model")
def test_force_does_not_overwrite_a_folder(capsys: Capture) -> None:
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
def test_early_end_leaves_no_files(
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
    message = ending(capsys, lambda: predict("rock", "-o", "new/deep/clip.wav"), status)
    assert message.startswith(sentence)
    assert found() == [] and left_by_requests(temporary) == []


def test_undeliverable_clip_is_kept(capsys: Capture, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    def copy(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musicgen_service.cli.files.shutil.copyfile", copy)
    message = ending(capsys, lambda: predict("rock", "-o", "new/clip.wav"), 1)
    assert message.startswith("error: new/clip.wav could not be written: No space left on device; what was made is in ")
    [kept] = left_by_requests(temporary)
    assert message.endswith(f"{kept.parent}.") and soundfile.info(kept).frames == RATE
    assert found() == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MusicGenService.generate

    def generate(self: MusicGenService, *arguments: Any) -> Any:
        Path("clip.wav").write_text("somebody else's")
        return original(self, *arguments)

    monkeypatch.setattr(MusicGenService, "generate", generate)
    message = ending(capsys, lambda: predict("rock", "-o", "clip.wav"), 1)
    assert "clip.wav could not be written: File exists; what was made is in" in message
    assert Path("clip.wav").read_text() == "somebody else's"


def test_internal_failure_is_one_sentence(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: object) -> None:
        raise client_errors.ServiceError("The service has no room left to write files: try again later.")

    monkeypatch.setattr(MusicGenService, "generate", generate)
    assert ending(capsys, lambda: predict("rock"), 1).startswith("error: ")


def test_no_temporary_files_remain(
    temporary: Path,
) -> None:
    predict("rock", "--variations", "2")
    assert left_by_requests(temporary) == [] and not list(temporary.rglob("request-*"))


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("prompt", "error: -i prompt is not of the form name=value: did you mean prompt=...?"),
        ("jazz", "error: -i jazz is not of the form name=value."),
        ("tempo=90", "error: There is no input 'tempo': use some of prompt, negative_prompt,"),
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
def test_invalid_request_is_rejected_before_loading_a_model(pair: str, sentence: str, capsys: Capture) -> None:
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
