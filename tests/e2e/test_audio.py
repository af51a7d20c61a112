"""Every path and format over HTTP: the response is a playable file of the right length and level."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest

from musicgen_service.audio import recipe
from musicgen_service.models.catalogue import CHECKPOINTS
from tests.e2e.conftest import SONG_SECONDS
from tests.support.harness import Clip, Server, file_server

RATE = 32_000
FRAME = 640
MIME = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg"}
# A lossy coder leaves out some of the noise that untrained checkpoints make.
LOUDNESS_TOLERANCE = {"wav": 0.1, "flac": 0.1, "mp3": 0.5, "ogg": 0.5}
# Inputs of each path, the length to expect in seconds, and by how many samples it may be off.
PATHS: dict[str, tuple[dict[str, Any], float, int]] = {
    "text": ({"prompt": "rock", "duration": 1.37}, 1.37, 0),
    "melody": ({"prompt": "jazz", "duration": 2}, 2, 0),
    "continuation": ({"prompt": "pop", "duration": 2.2}, 2.2, FRAME),
    "encode-decode": ({}, SONG_SECONDS, FRAME),
}


def loudness(clip: Clip) -> float:
    return float(pyloudnorm.Meter(clip.rate).integrated_loudness(clip.samples))


@pytest.mark.parametrize("output_format", MIME)
@pytest.mark.parametrize("task", PATHS)
def test_every_path_in_every_format(server: Server, song: str, task: str, output_format: str) -> None:
    inputs, seconds, tolerance = PATHS[task]
    audio = {} if task == "text" else {"input_audio": song}
    model = "melody" if task == "melody" else "small"
    [clip] = server.make(**inputs, **audio, task=task, model_version=model, output_format=output_format, seed=7)
    assert clip.mime == MIME[output_format]
    assert clip.rate == RATE
    assert clip.channels == 1
    assert abs(len(clip.samples) - round(seconds * RATE)) <= tolerance
    assert loudness(clip) == pytest.approx(-14, abs=LOUDNESS_TOLERANCE[output_format])


@pytest.mark.parametrize("task", PATHS)
def test_stereo_models_give_two_channels(server: Server, song: str, task: str) -> None:
    inputs, seconds, tolerance = PATHS[task]
    audio = {} if task == "text" else {"input_audio": song}
    model = "stereo-melody" if task == "melody" else "stereo-small"
    [clip] = server.make(**inputs, **audio, task=task, model_version=model)
    assert clip.channels == 2
    assert abs(len(clip.samples) - round(seconds * RATE)) <= tolerance
    # A codec with random weights makes the same of every sound, but not of every token.
    assert task == "encode-decode" or not np.array_equal(clip.samples[:, 0], clip.samples[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["small", "stereo-small"])
def test_multi_band_diffusion_decodes(server: Server, model: str) -> None:
    inputs = {"prompt": "rock", "model_version": model, "duration": 1, "seed": 7}
    [clip] = server.make(**inputs, multi_band_diffusion=True)
    [plain] = server.make(**inputs)
    assert clip.samples.shape == plain.samples.shape == (RATE, CHECKPOINTS[model].channels)
    assert not np.array_equal(clip.samples, plain.samples)


def test_audio_may_be_a_link(server: Server, song: str, song_file: Path) -> None:
    inputs = {"task": "encode-decode", "model_version": "small"}
    with file_server(song_file.parent) as address:
        [linked] = server.make(**inputs, input_audio=f"{address}/{song_file.name}")
    [sent] = server.make(**inputs, input_audio=song)
    assert np.array_equal(linked.samples, sent.samples)


def test_task_is_chosen_by_the_inputs(server: Server, song: str) -> None:
    for audio, expected in (({}, "text"), ({"input_audio": song}, "melody")):
        [clip] = server.make(prompt="rock", model_version="melody", duration=1, **audio)
        assert _recipe(clip, Path(server.temp.parent))["task"] == expected
    [clip] = server.make(input_audio=song, continuation=True, model_version="small", duration=2)
    assert _recipe(clip, Path(server.temp.parent))["task"] == "continuation"


def test_auto_selects_the_best_checkpoint_present(server: Server, song: str) -> None:
    [clip] = server.make(input_audio=song, duration=1)
    assert _recipe(clip, Path(server.temp.parent))["model_version"] == "stereo-melody"


def test_the_same_seed_gives_the_same_audio(server: Server) -> None:
    inputs = {"prompt": "rock", "model_version": "small", "duration": 1}
    [first], [again], [other] = (server.make(**inputs, seed=seed) for seed in (5, 5, 6))
    assert first.content == again.content
    assert not np.array_equal(first.samples, other.samples)


def test_seed_in_the_metrics_reproduces_the_clip(server: Server) -> None:
    inputs = {"prompt": "rock", "model_version": "small", "duration": 1}
    reply = server.predict(**inputs)
    seed = reply["metrics"]["seed"]
    assert 1 <= seed < 2**32
    assert server.predict(**inputs, seed=seed)["output"] == reply["output"]


def test_the_metrics_say_how_much_audio_was_asked_for(server: Server, song: str) -> None:
    part = {"input_audio": song, "task": "encode-decode", "continuation_start": 0.5}
    for inputs, seconds in (({"prompt": "rock", "duration": 1, "variations": 2}, 2), (part, SONG_SECONDS - 0.5)):
        assert server.predict(**inputs, model_version="small")["metrics"]["audio_seconds"] == seconds


def test_models_in_memory_are_listed(server: Server) -> None:
    server.make(prompt="rock", model_version="small", duration=1)
    loaded = {entry["name"]: entry["loaded"] for entry in server.client.get("/models").json()["models"]}
    assert loaded["small"] and not loaded["medium"]


def test_each_variation_is_reproducible_alone(server: Server) -> None:
    inputs = {"prompt": "rock", "model_version": "small", "duration": 1}
    reply = server.predict(**inputs, variations=3, seed=5)
    clips = [Clip.from_uri(uri) for uri in reply["output"]]
    seeds = reply["metrics"]["seeds"]
    assert len(clips) == len(set(seeds)) == 3
    assert seeds[0] == reply["metrics"]["seed"] == 5
    for clip, seed in zip(clips, seeds, strict=True):
        [alone] = server.make(**inputs, seed=seed)
        assert np.array_equal(alone.samples, clip.samples)


@pytest.mark.slow
def test_different_models_answer_at_once_as_they_do_alone(server: Server, song: str) -> None:
    requests: list[dict[str, Any]] = [
        {"model_version": "small", "duration": 3},
        {"model_version": "stereo-small", "duration": 3, "negative_prompt": "jazz"},
        {"model_version": "stereo-melody", "duration": 2, "input_audio": song},
        {"model_version": "small", "duration": 1, "variations": 2},
    ]
    requests = [{"prompt": "rock", "seed": number, **inputs} for number, inputs in enumerate(requests, 1)]
    alone = [server.predict(**inputs)["output"] for inputs in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda inputs: server.post({"input": inputs}).json(), requests))
    assert [reply["output"] for reply in together] == alone


def test_progress_is_in_the_log(server: Server) -> None:
    server.make(prompt="rock", model_version="small", duration=1)
    assert "100 %" in server.log.read_text()


@pytest.mark.parametrize("output_format", MIME)
def test_the_shipped_checkpoint_makes_music(server: Server, song: str, output_format: str) -> None:
    inputs = {"model_version": "demo", "duration": 2, "output_format": output_format, "seed": 1}
    for audio in ({}, {"input_audio": song}):
        [clip] = server.make(prompt="lofi piano, 90 bpm", **inputs, **audio)
        assert clip.samples.shape == (2 * RATE, CHECKPOINTS["demo"].channels)
        assert loudness(clip) == pytest.approx(-14, abs=LOUDNESS_TOLERANCE[output_format])


def _recipe(clip: Clip, folder: Path) -> dict[str, Any]:
    file = folder / "clip.wav"
    file.write_bytes(clip.content)
    found: dict[str, Any] = json.loads(json.dumps(recipe.read(file)))
    return found


def test_what_was_made_is_in_the_metrics(server: Server) -> None:
    def made() -> float:
        found = re.search(
            r'^musicgen_audio_seconds_total{model="small",task="text"} (\S+)$',
            server.client.get("/metrics").text,
            re.MULTILINE,
        )
        return 0.0 if found is None else float(found[1])

    before = made()
    server.make(prompt="rock", model_version="small", duration=2, variations=2)
    assert made() - before == pytest.approx(4)
    text = server.client.get("/metrics").text
    assert 'musicgen_predictions_total{outcome="succeeded",task="text"}' in text
    assert 'musicgen_step_seconds_count{model="small"}' in text
