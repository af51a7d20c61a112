"""The Python API: clips as the service would write them, as arrays and files; refusals in the same sentences."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import soundfile

import musicgen_service
from musicgen_service import MusicGen, RequestError, WeightsError, api, cli, load
from musicgen_service.audio import loudness, recipe
from musicgen_service.audio.encoding import FORMATS
from musicgen_service.requests.fields import FIELDS
from musicgen_service.seeds import variation_seed
from tests.support.sounds import RATE, tone

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(weights: Path) -> MusicGen:
    return load("melody", weights=weights)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5, 2, rate=44_100).T, 44_100)
    return path


@pytest.mark.parametrize("extension", FORMATS)
def test_saved_clip_equals_command_line_output(model: MusicGen, extension: str, shell: None, tmp_path: Path) -> None:
    cli.main(["predict", "rock", "--model-version", "melody", "--duration", "1", "--seed", "5", "-o", f"a.{extension}"])
    model.generate("rock", duration=1, seed=5).save(f"b.{extension}")
    command, saved = tmp_path / f"a.{extension}", tmp_path / f"b.{extension}"
    if extension == "ogg":  # whose container numbers its streams at random
        assert np.array_equal(soundfile.read(command)[0], soundfile.read(saved)[0])
        assert recipe.read(command) == recipe.read(saved)
    else:
        assert command.read_bytes() == saved.read_bytes()


def test_input_audio_is_a_file_path(model: MusicGen, song: Path, shell: None, tmp_path: Path) -> None:
    inputs = ["--input-audio", str(song), "--model-version", "melody", "--duration", "1", "--seed", "5"]
    cli.main(["predict", *inputs, "-o", "a.wav"])
    for path in (song, str(song)):
        model.generate(input_audio=path, duration=1, seed=5).save("b.wav")
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_clip_has_samples_seed_and_recipe(model: MusicGen, tmp_path: Path) -> None:
    clip = model.generate("rock", duration=1.5, seed=5, return_stems=False, beat_sync_threshold=2)
    assert clip.samples.dtype == np.float32
    assert (clip.samples.shape, clip.sample_rate) == ((1, round(1.5 * RATE)), RATE)
    assert (clip.seed, clip.number, clip.part) == (5, 1, "")
    assert clip.notes == ["beat_sync_threshold has no effect on task 'text'."]
    assert (clip.recipe["prompt"], clip.recipe["model_version"], clip.recipe["seed"]) == ("rock", "melody", 5)
    clip.save(tmp_path / "clip.flac")
    assert recipe.read(tmp_path / "clip.flac")["output_format"] == "flac"
    assert np.abs(soundfile.read(tmp_path / "clip.flac")[0] - clip.samples[0]).max() < 2 / 32_768


def test_variations_are_a_list_and_each_is_reproducible_alone(model: MusicGen) -> None:
    clips = model.generate("rock", duration=1, seed=5, variations=3)
    assert [clip.seed for clip in clips] == [variation_seed(5, index) for index in range(3)]
    assert [clip.number for clip in clips] == [1, 2, 3]
    for clip in clips:
        assert np.array_equal(model.generate("rock", duration=1, seed=clip.seed).samples, clip.samples)
    assert len(model.generate("rock", duration=1, variations=1)) == 1


def test_remix_with_stems_is_a_list(model: MusicGen, song: Path) -> None:
    clips = model.generate(task="remix", input_audio=song, seed=5, return_stems=True)
    assert [clip.part for clip in clips] == ["", "backing", "vocals"]


def test_stream_yields_the_unnormalised_clip_in_pieces(model: MusicGen) -> None:
    pieces = list(model.stream("rock", duration=4.5, seed=5))
    assert [piece.shape[1] / RATE for piece in pieces] == [0.2, 0.5, 1, 2, 0.8]
    assert all(piece.dtype == np.float32 and len(piece) == 1 for piece in pieces)
    levelled = loudness.normalise(np.concatenate(pieces, axis=1), RATE, "loudness")
    assert np.abs(levelled - model.generate("rock", duration=4.5, seed=5).samples).max() < 1e-3


@pytest.mark.parametrize("inputs", [{}, {"continuation": True}])
def test_melodies_and_continuations_are_streamed(model: MusicGen, song: Path, inputs: dict[str, Any]) -> None:
    asked: Any = {"input_audio": song, "duration": 4, "seed": 5} | inputs
    levelled = loudness.normalise(np.concatenate(list(model.stream(**asked)), axis=1), RATE, "loudness")
    assert np.abs(levelled - model.generate(**asked).samples).max() < 1e-3


def test_a_stream_has_any_length(model: MusicGen) -> None:
    assert sum(piece.shape[1] for piece in model.stream("rock", duration=31, seed=5)) == 31 * RATE


def test_model_is_usable_after_a_stream_is_closed_early(model: MusicGen) -> None:
    stream = model.stream("rock", duration=8, seed=5)
    next(stream)
    del stream
    assert model.generate("rock", duration=1)


def test_one_thread_uses_the_model_between_the_pieces_of_its_streams(model: MusicGen) -> None:
    streams = [model.stream("rock", duration=2, seed=seed) for seed in range(1, 11)]  # more than there are slots
    taken = [next(stream).shape[1] for stream in streams]
    assert model.generate("rock", duration=1).samples.shape == (1, RATE)
    # Longer than the slots are wide, so that it waits until no other sequence runs.
    assert model.generate("rock " * 300, duration=1).samples.shape == (1, RATE)
    for stream, samples in zip(streams, taken, strict=True):
        assert samples + sum(piece.shape[1] for piece in stream) == 2 * RATE


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (
            {"task": "loop", "bpm": 120},
            "Task 'loop' cannot be streamed: a loop is cut out of its music when that is complete.",
        ),
        ({"variations": 2}, "A stream is one clip, and variations is 2: leave it out."),
        (
            {"multi_band_diffusion": True},
            "multi_band_diffusion decodes a clip as a whole, so it cannot be streamed: leave it out.",
        ),
        ({"top_k": -1}, "top_k must be a whole number from 0 to 2048, not -1."),
    ],
)
def test_unstreamable_request_is_rejected_immediately(model: MusicGen, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        model.stream("rock", **inputs)
    assert refused.value.problems == [sentence]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"prompt": "rock", "duration": 700}, "duration must be a number from 1 to 600, not 700."),
        ({"prompt": "rock", "tempo": 90}, "There is no input 'tempo'."),
        ({"bpm": 90, "prompt": "rock, 120 bpm"}, "The prompt says 120 bpm but bpm is 90: leave one of them out."),
        ({}, "Give a prompt, input_audio, or both."),
    ],
)
def test_invalid_request_raises_the_service_error(model: MusicGen, inputs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        model.generate(**inputs)
    assert isinstance(refused.value, RequestError) and refused.value.problems == [sentence]


def test_non_audio_file_is_rejected(model: MusicGen, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("C E G")
    with pytest.raises(RequestError, match=r"^input_audio cannot be used: "):
        model.generate(input_audio=tmp_path / "notes.txt")


def test_file_extension_selects_the_format(model: MusicGen, tmp_path: Path) -> None:
    clip = model.generate("rock", duration=1)
    with pytest.raises(ValueError, match=r"must end in one of \.wav, \.mp3, \.flac, \.ogg, unlike 'clip\.aiff'"):
        clip.save(tmp_path / "clip.aiff")


def test_misspelt_or_missing_model_is_reported(weights: Path) -> None:
    with pytest.raises(
        RequestError, match=r"^model_version must be one of auto, .*, not 'dmeo' \(did you mean 'demo'\?\)"
    ):
        load("dmeo", weights=weights)
    with pytest.raises(WeightsError, match=r"^'large' is not in the weights folder: run "):
        load("large", weights=weights)


def test_auto_selects_the_best_model_for_each_request(weights: Path, song: Path) -> None:
    model = load(weights=weights, device="cpu")
    assert model.generate("rock", duration=1).recipe["model_version"] == "stereo-melody"
    assert model.generate("rock", duration=1, model_version="small").recipe["model_version"] == "small"


def test_every_input_is_a_typed_keyword() -> None:
    hints = get_type_hints(api.Inputs)
    apart = {"prompt", "variations", "return_stems"}
    assert hints.keys() | apart == FIELDS.keys() and not hints.keys() & apart
    for name, hint in hints.items():
        assert get_args(hint)[0] in (FIELDS[name].kind, str), name
        assert (FIELDS[name].kind is Path) == (len(get_args(hint)) == 3), name


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, musicgen_service; assert not {'torch', 'numpy', 'soundfile'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


def test_package_exports_exactly_its_public_names() -> None:
    for name in musicgen_service.__all__:
        assert getattr(musicgen_service, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="module 'musicgen_service' has no attribute 'lode'"):
        _ = musicgen_service.lode


def test_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), flags=re.DOTALL)
    played: list[np.ndarray] = []
    monkeypatch.chdir(tmp_path)
    exec(example, {"play": played.append})
    clips = [soundfile.info(tmp_path / name) for name in ("clip.mp3", "clip-1.wav", "clip-2.wav", "clip-3.wav")]
    assert [clip.frames for clip in clips] == [8 * RATE, 4 * RATE, 4 * RATE, 4 * RATE]
    assert [piece.shape[1] / RATE for piece in played] == [0.2, 0.5, 1, 2, 1.3]
