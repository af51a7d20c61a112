"""Notes reach the client of their request, with the client's names of inputs."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service import notes, predictors
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.service import MusicGenService
from tests.compat.requests import PRESENT
from tests.support.sounds import RATE, tone


def test_notes_are_unique_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    with notes.collected() as sentences:
        for sentence in ("b", "a", "b"):
            notes.note(sentence)
    notes.note("c")
    assert sentences == ["b", "a"]
    assert capsys.readouterr().err == "note: b\nnote: a\nnote: c\n"


def test_concurrent_requests_have_separate_notes() -> None:
    both = threading.Barrier(2)
    collected: dict[str, list[str]] = {}

    def request(name: str) -> None:
        with notes.collected() as sentences:
            both.wait(10)
            notes.note(name)
            both.wait(10)
        collected[name] = sentences

    threads = [threading.Thread(target=request, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collected == {"a": ["a"], "b": ["b"]}


def test_validated_request_logs_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    predictors.load(None).resolve({"prompt": "rock", "continuation_start": 1}, PRESENT)
    assert "note:" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def service(weights: Path) -> MusicGenService:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(weights))
        return MusicGenService()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5)[0], RATE)
    return path


def notes_of(service: MusicGenService, **inputs: Any) -> list[str]:
    with notes.collected() as sentences:
        service.generate(decode_files({"seed": 5, "duration": 1, "model_version": "small"} | inputs, FIELDS))
    return sentences


def metrics(system: str | None, service: MusicGenService, **inputs: Any) -> dict[str, Any]:
    """The metrics that a predictor records for a request."""
    predictor = predictors.load(system)
    predictor.service = service
    recorded: dict[str, Any] = {}
    predictor.record_metric = recorded.__setitem__
    defaults = {name: field.default for name, field in predictor.fields.items()}
    asyncio.run(predictor.run_request({"self": predictor} | defaults | inputs))
    return recorded


def test_notes_are_in_the_metrics_when_there_are_some(service: MusicGenService) -> None:
    inputs = {"prompt": "rock", "model_version": "small", "duration": 1}
    recorded = metrics(None, service, **inputs)
    assert set(recorded) == {"task", "model", "seed", "seeds", "files", "audio_seconds"}
    assert (recorded["task"], recorded["model"], len(recorded["files"])) == ("text", "small", 1)
    recorded = metrics(None, service, **inputs, chroma_coefficient=1.5)
    assert recorded["notes"] == ["chroma_coefficient has no effect on task 'text'."]


def test_drop_ins_name_their_own_inputs(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    inputs = {"input_audio": song, "model_version": "encode-decode", "prompt": "rock", "duration": 9}
    assert metrics("meta_musicgen", service, **inputs)["notes"] == [
        "prompt has no effect on model_version 'encode-decode'.",
        "duration has no effect on model_version 'encode-decode'.",
    ]
    predictor = predictors.load("musicgen_remixer")
    with notes.collected(predictor.reword) as sentences:
        notes.note("No vocals were found in input_audio, so the remix is the new backing alone.")
    assert sentences == ["No vocals were found in music_input, so the remix is the new backing alone."]


@pytest.mark.parametrize("task", ["encode-decode", "continuation", "melody"])
def test_part_shorter_than_a_sample_is_rejected(task: str, service: MusicGenService, song: Path) -> None:
    model = "melody" if task == "melody" else "small"
    with pytest.raises(RequestError) as refused:
        notes_of(
            service,
            input_audio=song,
            task=task,
            model_version=model,
            continuation_start=1,
            continuation_end=1.00001,
            duration=2,
        )
    assert refused.value.problems == [
        "The part of input_audio from 1 s to 1.00001 s is shorter than a sample: raise continuation_end."
    ]


def test_continuation_of_less_than_a_frame_is_noted(service: MusicGenService, song: Path) -> None:
    assert notes_of(service, input_audio=song, continuation=True, continuation_end=0.015) == [
        "input_audio is shorter than 0.02 s, so the music does not go on from it."
    ]


def test_melody_that_is_silent_after_separation_is_noted(
    service: MusicGenService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "musicgen_service.analysis.stems.melodic", lambda audio, *_: type(audio)(0 * audio.samples, RATE)
    )
    assert notes_of(service, input_audio=song, model_version="melody") == [
        "input_audio has no effect: nothing of it is left when its melody is taken out and mixed to one channel."
    ]


def test_text_beyond_the_text_encoder_is_noted(service: MusicGenService) -> None:
    [sentence] = notes_of(service, prompt="静かなピアノ")
    assert sentence.startswith("The text encoder of model 'small' knows none of the prompt's words")
    [sentence] = notes_of(service, prompt="rock " * 600)
    assert "the text encoder reads 512: what comes after its first 2554 characters has no effect" in sentence


def test_greedy_is_greedy_however_small_its_temperature(service: MusicGenService) -> None:
    def samples(temperature: float) -> np.ndarray:
        [file], _ = service.generate(
            {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5, "temperature": temperature}
        )
        return np.asarray(soundfile.read(file)[0])

    greedy = samples(0)
    for temperature in (1e-6, 1e-39, 5e-324):
        assert np.array_equal(samples(temperature), greedy)
