"""The metrics of the worker."""

from unittest.mock import Mock, patch

import pytest
import torch
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from musicgen_service.service import MusicGenService
from musicgen_service.serving.worker_metrics import ServiceCollector, registry_of
from tests.support.serviced import made

Sample = tuple[str, tuple[tuple[str, str], ...]]


def read(service: MusicGenService) -> dict[Sample, float]:
    """Every sample, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry_of(service)).decode())
        for sample in family.samples
    }


def test_a_request_is_measured(service: MusicGenService) -> None:
    audio = "musicgen_audio_seconds_total", (("model", "small"), ("task", "text"))
    steps = "musicgen_step_seconds_count", (("model", "small"),)
    before = read(service)
    made(service, prompt="rock", model_version="small", duration=1.5, variations=2)
    after = read(service)
    assert after[audio] - before.get(audio, 0) == pytest.approx(3)
    # Both share the steps: one for each frame, and for each codebook but the first.
    assert after[steps] - before[steps] == pytest.approx(78, abs=2)
    assert after["musicgen_step_seconds_bucket", (("le", "+Inf"), ("model", "small"))] == after[steps]
    assert after["musicgen_step_seconds_sum", (("model", "small"),)] > 0
    for name in ("musicgen_slots_in_use", "musicgen_slots_waited_for"):
        assert after[name, (("model", "small"),)] == 0
    assert after["musicgen_slots", (("model", "small"),)] == 8


def test_memory_is_told_by_model(service: MusicGenService) -> None:
    service.memory.take("slots of small", 7)
    service.memory.take("inputs", 5)
    seen = read(service)
    assert seen["musicgen_memory_bytes", (("model", "small"), ("part", "weights"))] > 1000
    assert seen["musicgen_memory_bytes", (("model", "small"), ("part", "slots"))] == 7
    assert seen["musicgen_memory_bytes", (("model", ""), ("part", "inputs"))] == 5
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
