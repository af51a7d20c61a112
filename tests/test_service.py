"""The service from inputs to files, in process, on tiny checkpoints of all four kinds."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.audio import reading
from musicgen_service.engine.engine import Engine
from musicgen_service.models import beat_tracking, chord_recognition
from musicgen_service.requests.errors import RequestError
from musicgen_service.seeds import variation_seed
from musicgen_service.service import MusicGenService
from tests.support.serviced import made, samples_of
from tests.support.sounds import RATE, tone

MODELS = {"small": 1, "melody": 1, "stereo-small": 2, "stereo-melody": 2}


def test_setup_loads_the_named_models(service: MusicGenService) -> None:
    assert {"small", "stereo-melody"} <= set(service._models.names())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seconds", [1, 1.37])
def test_text_clip_has_exactly_the_requested_length(service: MusicGenService, model: str, seconds: float) -> None:
    [file] = made(service, prompt="rock", model_version=model, duration=seconds)
    assert samples_of(file).shape == (MODELS[model], round(seconds * RATE))
    assert soundfile.info(file).samplerate == RATE


@pytest.mark.parametrize("model", ["melody", "stereo-melody"])
def test_melody_clip_has_exactly_the_requested_length(service: MusicGenService, model: str, song: Path) -> None:
    [file] = made(service, input_audio=song, model_version=model, duration=2.2)
    assert samples_of(file).shape == (MODELS[model], round(2.2 * RATE))


def test_melody_affects_the_clip(
    service: MusicGenService, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A separator with random weights would make noise of either melody.
    monkeypatch.setattr(service._analysis, "melody", lambda audio: audio)
    other = tmp_path / "other.wav"
    soundfile.write(other, np.sin(np.arange(2 * RATE) * 0.2), RATE)
    first, second = (samples_of(made(service, input_audio=path, model_version="melody")[0]) for path in (song, other))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("model", MODELS)
def test_continuation_keeps_its_input(service: MusicGenService, model: str, song: Path) -> None:
    [file] = made(
        service,
        input_audio=song,
        continuation=True,
        model_version=model,
        duration=2.5,
        normalization_strategy="clip",
    )
    # Not by our own reader, which takes a constant offset out, such as the new music's here.
    clip = soundfile.read(file, always_2d=True)[0].T
    given = reading.read(song).convert(RATE, MODELS[model]).samples
    assert clip.shape == (MODELS[model], round(2.5 * RATE))
    faded = round(0.01 * RATE)
    assert np.abs(clip[:, : given.shape[1] - faded] - given[:, :-faded]).max() < 2e-4
    assert np.abs(clip[:, given.shape[1] :]).max() > 0.01


def test_continuation_can_start_within_the_file(service: MusicGenService, song: Path) -> None:
    inputs = {"input_audio": song, "continuation": True, "model_version": "small", "normalization_strategy": "clip"}
    [file] = made(service, **inputs, continuation_start=0.5, continuation_end=1.0)
    given = reading.read(song).slice(0.5, 1.0).convert(RATE, 1).samples
    assert np.abs(samples_of(file)[:, :15_000] - given[:, :15_000]).max() < 2e-4


@pytest.mark.parametrize("seconds", [0.015, 0.51])
def test_continuation_works_from_very_short_input(service: MusicGenService, song: Path, seconds: float) -> None:
    [file] = made(service, input_audio=song, continuation=True, model_version="small", continuation_end=seconds)
    assert samples_of(file).shape == (1, RATE)


@pytest.mark.parametrize("model", MODELS)
def test_encode_decode_is_as_long_as_its_input(service: MusicGenService, model: str, song: Path) -> None:
    [file] = made(service, input_audio=song, task="encode-decode", model_version=model)
    assert samples_of(file).shape == (MODELS[model], round(1.5 * RATE))


@pytest.mark.parametrize("model", ["small", "stereo-small"])
def test_diffusion_decodes_mono_and_stereo(service: MusicGenService, model: str) -> None:
    plain, diffused = (
        samples_of(made(service, prompt="rock", model_version=model, multi_band_diffusion=flag)[0])
        for flag in (False, True)
    )
    assert diffused.shape == plain.shape
    assert np.abs(diffused - plain).max() > 0.01
    assert np.isfinite(diffused).all() and np.abs(diffused).max() > 0.01


@pytest.mark.parametrize(("strategy", "name"), itertools.product(["loudness", "rms"], ["wav", "mp3", "flac"]))
def test_level_matches_the_normalization_strategy(service: MusicGenService, strategy: str, name: str) -> None:
    # Vorbis takes some of the noise away that random weights make; the tests with the demo cover ogg.
    [file] = made(service, prompt="rock", normalization_strategy=strategy, output_format=name, duration=3)
    sound = samples_of(file)
    assert file.suffix == f".{name}" and soundfile.info(file).frames == 3 * RATE
    if strategy == "loudness":
        assert pyloudnorm.Meter(RATE).integrated_loudness(sound.T) == pytest.approx(-14, abs=0.1)
    else:
        assert 20 * np.log10(np.sqrt(np.mean(sound.mean(axis=0) ** 2))) == pytest.approx(-18, abs=0.1)


@pytest.mark.parametrize("task", ["text", "melody", "continuation", "encode-decode"])
def test_the_same_seed_gives_the_same_bytes(service: MusicGenService, task: str, song: Path) -> None:
    inputs = {"task": task, "model_version": "stereo-melody", "duration": 2} | (
        {"prompt": "rock"} if task == "text" else {"input_audio": song}
    )
    first, second = (made(service, **inputs)[0].read_bytes() for _ in range(2))
    assert first == second


def test_another_seed_gives_another_clip(service: MusicGenService) -> None:
    first, second = (made(service, prompt="rock", seed=seed)[0].read_bytes() for seed in (5, 6))
    assert first != second


def test_each_variation_is_reproducible_alone(service: MusicGenService) -> None:
    files, seeds = service.generate({"prompt": "rock", "seed": 5, "duration": 1, "variations": 3})
    assert seeds == [variation_seed(5, index) for index in range(3)] and len(set(seeds)) == 3
    assert [file.name for file in files] == sorted(file.name for file in files)
    sounds = [samples_of(file) for file in files]
    for seed, sound in zip(seeds, sounds, strict=True):
        assert np.array_equal(samples_of(made(service, prompt="rock", seed=seed)[0]), sound)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["loop", "remix"])
def test_beat_tracker_depends_on_the_weights_folder(
    service: MusicGenService, task: str, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tempi: list[float | None] = []

    def track(_samples: np.ndarray, _rate: int, tempo: float | None) -> BeatGrid:
        tempi.append(tempo)
        return BeatGrid(120, np.arange(0, 4, 0.5), np.arange(0, 4, 2.0), 4, 1.0)

    monkeypatch.setattr(beat_tracking, "choose", lambda store, _device: track if store is service.store else None)
    service._models.clear()
    given = {"input_audio": song} if task == "remix" else {"duration": 2}
    made(service, task=task, prompt="rock", bpm=120, model_version="melody", **given)
    assert tempi == [120] * (2 if task == "remix" else 1)


def test_chords_of_a_remix_are_recognised_by_what_is_installed(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[float] = []

    def recognise(samples: np.ndarray, rate: int, grid: BeatGrid) -> Harmony:
        lengths.append(samples.shape[-1] / rate)
        return Harmony([ChordSegment(0.0, lengths[-1], "G:7")])

    monkeypatch.setattr(chord_recognition, "choose", lambda: recognise)
    service._models.clear()
    made(service, task="remix", prompt="rock", model_version="melody", input_audio=song)
    assert lengths == [pytest.approx(reading.read(song).seconds, abs=0.01)]


def test_a_silent_recording_has_no_chords(service: MusicGenService, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(RequestError, match="audio_chords is silent: it needs to have chords"):
        made(service, audio_chords=tmp_path / "silence.wav", model_version="melody")


def test_chords_change_the_music(service: MusicGenService) -> None:
    inputs: dict[str, Any] = {"bpm": 120, "model_version": "melody", "classifier_free_guidance": 20}
    one, other, strong = (
        samples_of(made(service, **inputs, **more)[0])
        for more in ({"text_chords": "C"}, {"text_chords": "F#"}, {"text_chords": "C", "chroma_coefficient": 2.5})
    )
    assert not np.array_equal(one, other) and not np.array_equal(one, strong)


def test_progress_is_reported_in_percent(service: MusicGenService, capsys: pytest.CaptureFixture[str]) -> None:
    made(service, prompt="rock", variations=2)
    percentages = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" %")]
    assert percentages == [f"{percent} %" for percent in range(10, 101, 10)]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [31, 45.3])
def test_clips_longer_than_a_window(service: MusicGenService, seconds: float) -> None:
    [file] = made(service, prompt="rock", model_version="small", duration=seconds)
    assert soundfile.info(file).frames == round(seconds * RATE)


def test_long_recording_is_kept_complete(service: MusicGenService, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(40)[0] * np.linspace(0.1, 1, 40 * RATE), RATE)
    [file] = made(
        service,
        input_audio=path,
        continuation=True,
        model_version="small",
        duration=42,
        normalization_strategy="clip",
    )
    clip, given = samples_of(file), reading.read(path).samples
    assert clip.shape == (1, 42 * RATE)
    assert np.abs(clip[:, : 40 * RATE - 320] - given[:, :-320]).max() < 2e-4


def test_repainting_is_refused_where_the_engine_scores_no_tokens(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "scores_tokens", False)
    with pytest.raises(RequestError, match="audiocraft's own loop, which is in use, cannot repaint"):
        made(service, task="repaint", input_audio=song, continuation_start=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["text", "melody", "continuation", "loop", "remix"])
def test_negative_prompt_changes_every_task_that_takes_words(service: MusicGenService, task: str, song: Path) -> None:
    inputs: dict[str, Any] = {"prompt": "rock", "task": task, "model_version": "stereo-melody", "duration": 3}
    inputs |= {"classifier_free_guidance": 20}  # random weights hardly tell one text from another
    inputs |= {"bpm": 120} if task in ("text", "loop") else {"input_audio": song}
    plain, led_away = (samples_of(made(service, **inputs, **more)[0]) for more in ({}, {"negative_prompt": "piano"}))
    assert not np.array_equal(plain, led_away)


def test_negative_prompt_is_refused_where_the_engine_takes_none(
    service: MusicGenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "takes_negative_text", False)
    with pytest.raises(RequestError, match="takes no negative_prompt: leave it out"):
        made(service, prompt="rock", negative_prompt="piano")
    assert made(service, prompt="rock", negative_prompt=" ")


def test_negative_words_of_a_section_are_refused_where_the_engine_takes_none(
    service: MusicGenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "takes_negative_text", False)
    with pytest.raises(RequestError, match="takes no '/ not:' in sections: leave it out"):
        made(service, sections="1 s: rock / not: piano")


@pytest.mark.slow
def test_threads_carry_out_requests_at_the_same_time(service: MusicGenService, song: Path) -> None:
    requests: list[dict[str, Any]] = [
        {"prompt": "rock", "seed": 1, "model_version": "small"},
        {"prompt": "jazz", "seed": 2, "model_version": "stereo-melody"},
        {"task": "remix", "input_audio": song, "model_version": "stereo-melody"},
        {"task": "melody", "input_audio": song, "model_version": "melody", "duration": 2},
        {"prompt": "rock", "model_version": "small", "multi_band_diffusion": True},
        {"prompt": "rock", "seed": 3, "model_version": "small", "duration": 33},
    ]
    alone = [made(service, **inputs)[0].read_bytes() for inputs in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda inputs: made(service, **inputs)[0].read_bytes(), requests))
    assert together == alone


def test_stream_and_requests_share_the_service(service: MusicGenService) -> None:
    inputs = {"prompt": "rock", "model_version": "small", "seed": 5, "duration": 4}
    pieces = service.stream(inputs)
    first = next(pieces)
    assert made(service, prompt="rock", model_version="small")
    assert sum(piece.shape[1] for piece in pieces) + first.shape[1] == 4 * RATE
