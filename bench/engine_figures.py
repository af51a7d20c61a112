"""What `bench.speed` measures of our engine alone: clips at once, growth over a window, and how soon there is sound."""

import math
import time
from typing import Any

from bench import implementations, machine, race
from musicgen_service.engine.allocation import MAX_SLOTS
from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

import torch

FIRST_CHUNK = 50
"""Frames of the first chunk of a stream: one second."""
EARLY, LATE = 50, 1400
"""Frames at which the time of a step is compared, to show its growth; in a shorter window, at its end."""
LATER = 300
"""Frame at which slots are measured again, with longer key-value caches, which slots cannot share."""


def measure(store: WeightStore, checkpoint: str, device: torch.device, frames: int) -> dict[str, Any]:
    """Measure the engine in its default precision, with steps of so many frames."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the other implementations; an engine allocates half of the free memory to slots
    model = implementations.load(store, device, checkpoint=checkpoint)
    shape = model.config.decoder
    conditions = Condition(implementations.TEXT)

    def many(slots: int, prompt: int) -> float:
        def generate(prefix: torch.Tensor | None, length: int, on_step: OnStep) -> torch.Tensor:
            generators = [torch.Generator(device).manual_seed(slot) for slot in range(slots)]
            requests = [SlotRequest(conditions, prefix, prompt + length, Sampling(), each) for each in generators]
            return model.generate_tokens(requests, on_step)[0]

        known = torch.randint(0, shape.card, (shape.codebooks, prompt)) if prompt else None
        return race.ms_per_step(generate, known, frames, device)

    counts = [2**power for power in range(int(math.log2(MAX_SLOTS[device.type])) + 1)]
    bandwidth = machine.read_bandwidth(device)
    early, late = many(1, EARLY), many(1, min(LATE, model.window - frames))
    return {
        "slots_ms_per_step": {slots: many(slots, 0) for slots in counts},
        "slots_ms_per_step_later": {slots: many(slots, LATER) for slots in (counts[0], counts[-1])},
        "growth": {"early_ms": early, "late_ms": late, "ratio": late / early},
        "read_bandwidth_gb_s": bandwidth / 1e9,
        "floor_ms": 1000 * _bytes_per_step(model, frames // 2, device) / bandwidth,
        "first_audio_s": _first_audio(model, conditions, device),
    }


def _bytes_per_step(model: MusicGenModel, position: int, device: torch.device) -> float:
    """Bytes that a step of the default precision reads: the weights, and two rows' keys and values."""
    shape = model.config.decoder
    layer = 14 * shape.dim**2
    weights = layer * shape.layers + shape.codebooks * shape.card * shape.dim
    cached = 2 * 2 * shape.layers * shape.dim * position
    # The default stores weights in two bytes; on a CPU it computes in four, and so do the caches.
    return float(2 * weights + (2 if device.type == "cuda" else 4) * cached)


def _first_audio(model: MusicGenModel, conditions: Any, device: torch.device) -> float:
    started = time.perf_counter()
    request = SlotRequest(conditions, None, 500, Sampling(), torch.Generator(device).manual_seed(0))
    next(model.stream_audio(model.stream_tokens([request], lambda *_: None), [FIRST_CHUNK]))
    return time.perf_counter() - started


def table(figures: dict[str, Any]) -> list[str]:
    """Format what `measure` returns."""
    lines = [f"{'ours':20}{'ms/step':>9}{'x real time':>13}"]
    for title, key in (("", "slots_ms_per_step"), (f" at frame {LATER}", "slots_ms_per_step_later")):
        alone = figures[key][1]
        for slots, ms in figures[key].items():
            gain = slots * alone / ms
            speed = slots * 1000 / ms / race.FRAME_RATE
            lines.append(f"{f'{slots} slots{title}':20}{ms:9.1f}{speed:13.2f}{gain:10.2f} x one after the other")
    growth = figures["growth"]
    share = figures["floor_ms"] / figures["slots_ms_per_step"][1]
    return [
        *lines,
        f"growth: {growth['ratio']:.2f} x ({growth['early_ms']:.1f} ms at frame {EARLY}, "
        f"{growth['late_ms']:.1f} ms at frame {LATE})",
        f"memory reads at {figures['read_bandwidth_gb_s']:.1f} GB/s: a step takes at least "
        f"{figures['floor_ms']:.1f} ms, and ours reaches {100 * share:.0f} % of that speed",
        f"first second of sound after {figures['first_audio_s']:.2f} s",
    ]
