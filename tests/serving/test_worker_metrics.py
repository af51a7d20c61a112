"""The metrics of the worker, read as the gateway reads them."""

import socket
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from musicgen_service.service import MusicGenService
from musicgen_service.serving import worker_metrics
from musicgen_service.serving.worker_metrics import ServiceCollector
from tests.support.serviced import made

Sample = tuple[str, tuple[tuple[str, str], ...]]


def read(path: Path) -> dict[Sample, float]:
    """Every sample that the worker offers, by its name and labels."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        text = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_request_is_measured(service: MusicGenService, tmp_path: Path) -> None:
    worker_metrics.publish(service, tmp_path / "metrics.sock")
    audio = "musicgen_audio_seconds_total", (("model", "small"), ("task", "text"))
    steps = "musicgen_step_seconds_count", (("model", "small"),)
    before = read(tmp_path / "metrics.sock")
    made(service, prompt="rock", model_version="small", duration=1.5, variations=2)
    after = read(tmp_path / "metrics.sock")
    assert after[audio] - before.get(audio, 0) == pytest.approx(3)
    # Both share the steps: one for each frame, and for each codebook but the first.
    assert after[steps] - before[steps] == pytest.approx(78, abs=2)
    assert after["musicgen_step_seconds_bucket", (("le", "+Inf"), ("model", "small"))] == after[steps]
    assert after["musicgen_step_seconds_sum", (("model", "small"),)] > 0
    for name in ("musicgen_slots_in_use", "musicgen_slots_waited_for"):
        assert after[name, (("model", "small"),)] == 0
    assert after["musicgen_slots", (("model", "small"),)] == 8


def test_memory_is_told_by_model(service: MusicGenService, tmp_path: Path) -> None:
    service.memory.take("slots of small", 7)
    worker_metrics.publish(service, tmp_path / "metrics.sock")
    seen = read(tmp_path / "metrics.sock")
    assert seen["musicgen_memory_bytes", (("model", "small"), ("part", "weights"))] > 1000
    assert seen["musicgen_memory_bytes", (("model", "small"), ("part", "slots"))] == 7
    assert seen["musicgen_memory_budget_bytes", ()] == service.memory.total
    assert seen["musicgen_worker_process_resident_memory_bytes", ()] > 10_000_000
    assert not any("gpu" in name for name, _ in seen)


def test_the_memory_of_a_gpu_is_told(service: MusicGenService) -> None:
    with (
        patch.object(service, "device", torch.device("cuda")),
        patch("torch.cuda.mem_get_info", Mock(return_value=(3, 10))),
    ):
        samples = {
            sample.name: sample.value for family in ServiceCollector(service).collect() for sample in family.samples
        }
    assert samples["musicgen_gpu_memory_used_bytes"] == 7 and samples["musicgen_gpu_memory_total_bytes"] == 10


def test_a_path_that_cannot_be_a_socket_is_told(
    service: MusicGenService, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "metrics.sock"
    worker_metrics.publish(service, path)
    assert f"the metrics of the worker are not available: {path} cannot be a socket" in capfd.readouterr().err
