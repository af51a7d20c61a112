"""Audio while it is made, by the real server: what is heard is the finished file but for its level."""

import io
import threading
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from tests.support.harness import Clip, Server, wait_until

RATE = 32_000
INPUTS = {"model_version": "demo", "prompt": "solo piano", "duration": 3, "seed": 1}


def heard(server: Server, **inputs: Any) -> tuple[httpx.Response, np.ndarray]:
    """The reply, and its sound [samples, channels]."""
    reply = server.client.post("/predictions/stream", json={"input": INPUTS | inputs})
    assert reply.status_code == 200, reply.text
    samples, rate = soundfile.read(io.BytesIO(reply.content), always_2d=True)
    assert rate == RATE
    return reply, samples


def outputs(server: Server, prediction_id: str) -> list[Clip]:
    """The files of a prediction, when it has ended."""
    wait_until(lambda: server.client.get(f"/predictions/{prediction_id}").json()["completed_at"] is not None)
    job = server.client.get(f"/predictions/{prediction_id}").json()
    assert job["status"] == "succeeded", job
    return [Clip.from_uri(address) for address in job["output"]]


def difference(file: np.ndarray, samples: np.ndarray) -> float:
    """The largest difference when both have one level, relative to the loudest sample."""
    level = np.vdot(file, samples) / np.vdot(samples, samples)
    return float(np.abs(file - level * samples).max() / np.abs(file).max())


@pytest.mark.parametrize("task", ["text", "melody", "continuation"])
def test_what_is_heard_is_the_file_but_for_its_level(server: Server, song: str, task: str) -> None:
    inputs: dict[str, Any] = {} if task == "text" else {"input_audio": song, "task": task}
    reply, samples = heard(server, normalization_strategy="peak", **inputs)
    [clip] = outputs(server, reply.headers["x-prediction-id"])
    assert samples.shape == clip.samples.shape == (3 * RATE, 1)
    assert difference(clip.samples, samples) < 1e-3
    assert float(reply.headers["x-real-time-factor"]) > 0 and reply.headers["x-audio-level"] == "not normalised"
    [unheard] = server.make(**INPUTS, normalization_strategy="peak", **inputs)
    assert np.array_equal(unheard.samples, clip.samples)


def test_the_first_variation_is_heard(server: Server) -> None:
    reply, samples = heard(server, variations=2, normalization_strategy="peak")
    first, second = outputs(server, reply.headers["x-prediction-id"])
    assert difference(first.samples, samples) < 1e-3 < difference(second.samples, samples)


def test_stereo_mp3_is_heard_from_its_beginning_while_others_run(server: Server) -> None:
    inputs = INPUTS | {"model_version": "stereo-small", "output_format": "mp3", "duration": 30}
    body = {"id": "stereo", "input": inputs}
    assert server.post(body, Prefer="respond-async").status_code == 202
    beside = threading.Thread(target=server.make, kwargs=INPUTS)
    beside.start()
    reply = server.client.get("/predictions/stereo/audio")
    beside.join()
    [clip] = outputs(server, "stereo")
    assert reply.headers["content-type"] == clip.mime == "audio/mpeg"
    samples, _ = soundfile.read(io.BytesIO(reply.content), always_2d=True)
    assert samples.shape[1] == 2 and 30 * RATE <= len(samples) < 30.2 * RATE


def test_tasks_that_need_the_complete_clip_say_so(server: Server) -> None:
    inputs = INPUTS | {"model_version": "small", "multi_band_diffusion": True}
    reply = server.client.post("/predictions/stream", json={"input": inputs})
    assert reply.status_code == 422 and "multi_band_diffusion decodes a clip as a whole" in reply.json()["error"]


def test_a_hang_up_frees_its_slots(server: Server) -> None:
    with server.client.stream("POST", "/predictions/left/stream", json={"input": INPUTS | {"duration": 60}}) as reply:
        next(reply.iter_raw())
    wait_until(lambda: server.client.get("/predictions/left").json()["status"] == "canceled")
    wait_until(server.is_idle)


def test_nothing_is_left_of_what_was_heard(server: Server) -> None:
    heard(server)
    wait_until(server.is_idle)
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    opened = [file.path for process in family for file in process.open_files()]
    assert not [path for path in opened if "musicgen-audio-" in path and not path.endswith(".made-by-musicgen-service")]
