"""Analysis and conversion: what is refused, what is bounded, and what ends with its client."""

import asyncio
import os
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from starlette.requests import Request

from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.serving import audio_worker, bodies
from musicgen_service.serving.audio_requests import AudioRequests
from musicgen_service.serving.audio_tasks import Outcome
from musicgen_service.serving.audio_worker import AudioWorker
from musicgen_service.serving.files import Files
from musicgen_service.serving.refusals import Refusal
from tests.support.harness import data_uri, wait_until
from tests.support.sounds import tone


def workers() -> list[psutil.Process]:
    """The child processes that work on audio."""
    return [child for child in psutil.Process().children() if "anyio.to_process" in " ".join(child.cmdline())]


def test_a_recording_is_analysed(client: httpx.Client, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(3.0)[0], 32_000)
    heard = client.post("/analyse", json={"input": {"input_audio": data_uri(tmp_path / "tone.wav")}})
    assert heard.status_code == 200, heard.text
    assert heard.json()["seconds"] == 3 and heard.json()["chords"][0]["label"].startswith("A")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, 'The body must be {"input": {"input_audio": ...}}'),
        ({"input": {"input_audio": 1}}, 'The body must be {"input": {"input_audio": ...}}'),
        ({"input": {"input_audio": "data:,x", "prompt": "rock"}}, 'The body must be {"input": {"input_audio": ...}}'),
        ({"input": {"input_audio": "/etc/passwd"}}, "input_audio must be an http(s) URL or a data URI."),
        ({"input": {"input_audio": "data:audio/wav;base64,bm8="}}, "input_audio cannot be used: "),
        ({"input": {"input_audio": "http://127.0.0.1/song.wav"}}, "input_audio could not be fetched: "),
    ],
)
def test_what_is_no_recording_is_refused(client: httpx.Client, body: dict[str, object], sentence: str) -> None:
    reply = client.post("/analyse", json=body)
    assert reply.status_code == 422 and reply.json()["error"].startswith(sentence), reply.text


def test_adapters_are_listed(client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path))
    assert client.get("/models").json()["adapters"] == []
    (tmp_path / "adapters" / "broken").mkdir(parents=True)
    [entry] = client.get("/models").json()["adapters"]
    assert entry["name"] == "broken" and entry["problem"].startswith("Adapter 'broken' cannot be used")


def test_every_checkpoint_is_listed(client: httpx.Client) -> None:
    models = {entry["name"]: entry for entry in client.get("/models").json()["models"]}
    assert set(CHECKPOINTS) < set(models)
    assert models["demo"]["present"] and "fetch" not in models["demo"]
    small = models["small"]
    assert not small["present"] and small["fetch"] == "python -m musicgen_service weights fetch small"
    assert (small["licence"], small["download_bytes"]) == ("CC-BY-NC 4.0", 600_000_000)


def _sleep(seconds: float) -> Outcome:
    time.sleep(seconds)
    return Outcome(seconds)


def _die() -> Outcome:
    os._exit(3)


def _sleep_long(begun: Path) -> Outcome:
    begun.touch()
    return _sleep(60)


def test_the_process_is_killed_when_its_client_goes(tmp_path: Path) -> None:
    async def cancelled() -> None:
        worker = AudioWorker()
        task = asyncio.create_task(worker.run(_sleep_long, tmp_path / "begun"))
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await worker.run(_sleep, 0.01) == 0.01, "the next one gets another process"

    before = workers()
    asyncio.run(cancelled())
    wait_until(lambda: workers() == before)


def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_worker, "_MAX_WAITING", 2)
    monkeypatch.setattr(audio_worker, "_SECONDS", 0.5)

    async def many() -> list[object]:
        worker = AudioWorker()
        return await asyncio.gather(*(worker.run(_sleep, 60) for _ in range(3)), return_exceptions=True)

    statuses = [refusal.status for refusal in asyncio.run(many()) if isinstance(refusal, Refusal)]
    assert sorted(statuses) == [429, 503, 503]


def test_one_client_leaves_room_for_others(tmp_path: Path) -> None:
    async def forever() -> dict[str, str]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def many() -> list[object]:
        audio = AudioRequests(bodies.BodyMemory(), Files(tmp_path))
        requests = [Request({"type": "http", "client": (f"127.0.0.{n}", 1)}, forever) for n in (1,) * 7 + (2,)]
        return await asyncio.gather(*(audio._work(it, _sleep, 0.01) for it in requests), return_exceptions=True)

    *own, other = asyncio.run(many())
    assert own[:5] == [0.01] * 5 and other == 0.01
    assert [it.status for it in own[5:] if isinstance(it, Refusal)] == [429, 429]


def test_a_process_that_ends_is_replaced() -> None:
    async def twice() -> None:
        worker = AudioWorker()
        with pytest.raises(Refusal) as refused:
            await worker.run(_die)
        assert refused.value.status == 503
        assert await worker.run(_sleep, 0.01) == 0.01

    asyncio.run(twice())


def test_silence_has_no_tempo(client: httpx.Client, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 32_000)
    heard = client.post("/analyse", json={"input": {"input_audio": data_uri(tmp_path / "silence.wav")}}).json()
    assert (heard["tempo_bpm"], heard["loudness_lufs"]) == (None, None)
