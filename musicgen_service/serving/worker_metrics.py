"""Metrics that only the worker knows."""

from collections.abc import Iterator
from itertools import accumulate

import torch
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from musicgen_service.engine.step_times import BOUNDS
from musicgen_service.models.memory import INPUTS, SLOTS_OF
from musicgen_service.service import MusicGenService


def registry_of(service: MusicGenService) -> CollectorRegistry:
    """The metrics of a service and of this process."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    ProcessCollector("musicgen_worker", registry=registry)
    return registry


class ServiceCollector(Collector):
    """Reads the metrics of a service when they are asked for.

    Parameters
    ----------
    service : whose they are
    """

    def __init__(self, service: MusicGenService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        audio = CounterMetricFamily(
            "musicgen_audio_seconds", "Length of the audio that was generated", labels=["task", "model"]
        )
        for key, seconds in self._service.audio_seconds.sums().items():
            audio.add_metric(key, seconds)
        yield audio
        yield from self._steps()
        yield from self._memory()
        if self._service.device.type == "cuda":
            yield from self._gpu(self._service.device)

    def _steps(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "musicgen_step_seconds", "Time from the start of a step to that of the next", labels=["model"]
        )
        slots = GaugeMetricFamily("musicgen_slots", "Sequences that a step can have", labels=["model"])
        running = GaugeMetricFamily("musicgen_slots_in_use", "Sequences in the steps", labels=["model"])
        waiting = GaugeMetricFamily("musicgen_slots_waited_for", "Sequences that wait for a slot", labels=["model"])
        for model, load in self._service.loads.items():
            bounds = [*map(str, BOUNDS), "+Inf"]
            counts = accumulate(load.step_times.counts)
            seconds.add_metric([model], list(zip(bounds, counts, strict=True)), load.step_times.total)
            for family, value in ((slots, load.slots), (running, load.running), (waiting, load.waiting)):
                family.add_metric([model], value)
        yield from (seconds, slots, running, waiting)

    def _memory(self) -> Iterator[Metric]:
        budget = self._service.memory
        yield GaugeMetricFamily("musicgen_memory_budget_bytes", "Memory that models may take", value=budget.total)
        taken = GaugeMetricFamily("musicgen_memory_bytes", "Memory that models take", labels=["model", "part"])
        for name, size in budget.parts.items():
            if name == INPUTS:
                taken.add_metric(["", INPUTS], size)
                continue
            part = "slots" if name.startswith(SLOTS_OF) else "weights"
            taken.add_metric([name.removeprefix(SLOTS_OF), part], size)
        yield taken

    def _gpu(self, device: torch.device) -> Iterator[Metric]:
        free, total = torch.cuda.mem_get_info(device)
        yield GaugeMetricFamily("musicgen_gpu_memory_used_bytes", "Memory in use on the GPU", value=total - free)
        yield GaugeMetricFamily("musicgen_gpu_memory_total_bytes", "Memory of the GPU", value=total)
