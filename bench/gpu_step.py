"""Profile of an engine step on a GPU, and how long a whole window of many clips takes.

    python -m bench.gpu_step --size large

Weights, keys and values are random: the time of a step does not depend on them. Every step is timed with the device's
own clock, launched kernel by kernel and as one captured graph, and compared with the time to read its bytes at the
bandwidth that a plain sum reaches. A kernel that starts before its predecessor has ended is counted with the time that
it waits, so that times by kind add up to more than the step's. Needs a GPU.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

from bench import implementations, machine
from musicgen_service.engine import weights
from musicgen_service.engine.buffers import BLOCK, Buffers
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.gpu_step import StepShape
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling, SlotRequest
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.slots import Slots

import torch
from torch.profiler import ProfilerActivity, profile

SCENES = (
    *((slots, position, 2) for slots in (1, 32) for position in (100, 750, 1400)),
    *((slots, 750, 1) for slots in (1, 32)),
)
"""Numbers of slots, the position of all of them, and the rows of each: one where nothing is guided."""
STEREO_MELODY = "stereo-melody-large"
"""The largest model: `large` with twice the codebooks, and its conditions before the clip in place of beside it."""
PREFIX_LENGTH = 247
"""Positions of a melody and of a text of `TEXT_LENGTH` before the clip."""
CONDITION = Condition(implementations.TEXT)
CLIPS, WINDOW, FRAME_RATE = 32, 1500, 50
TEXT_CAPACITY = 256
TEXT_LENGTH = 12
_REPEATS, _ROUNDS = 40, 3
_PROFILED = 3
_KINDS = {
    "attention": ("attend", "sdpa", "fmha", "flash"),
    "products": ("product", "nvjet", "gemm", "gemv", "cutlass", "splitk"),
    "norms": ("normalise", "layer_norm"),
    "GELU": ("gelu",),
    "embedding and drawing": ("embed", "draw", "index", "gather", "scatter", "topk", "sort", "softmax", "reduce"),
    "copies": ("copy", "memcpy", "memset"),
    "adding, filling, choosing": ("elementwise",),
}
"""Kinds of kernels by parts of their names; the first match counts."""

Call = Callable[[], object]


class Scene:
    """Slots that all stay at one position."""

    def __init__(self, engine: Engine, count: int, position: int, rows: int) -> None:
        decoder = engine.decoder
        capacity = -(-(position + 1) // BLOCK) * BLOCK
        decoder.reserve_positions(capacity)
        buffers = Buffers(decoder, count, capacity, TEXT_CAPACITY, 1)
        Slots(decoder, engine.pattern, buffers)
        for cache in filter(None, (buffers.cache, buffers.text)):
            cache.buffer.normal_()
        buffers.tokens.random_(0, decoder.weights.card)
        buffers.noise.exponential_(1)
        for slot in range(count):
            buffers.controls.set(slot, Sampling())
        buffers.position.fill_(position)
        buffers.column.fill_(position)
        buffers.text_lengths.fill_(TEXT_LENGTH)
        top_k = Sampling().top_k
        _key, self._step = buffers.gpu_step.prepare(
            buffers, StepShape(count, rows, position + 1, TEXT_LENGTH, top_k, False)
        )
        row = len(decoder.weights.layers) * decoder.weights.dim * decoder.dtype.itemsize
        self.cached_bytes = 2 * row * count * (rows * (position + 1) + (TEXT_LENGTH if buffers.text else 0))

    @torch.inference_mode()
    def step(self) -> None:
        """Run one step, kernel by kernel."""
        self._step()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*implementations.SIZES, STEREO_MELODY], default="small")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this needs a GPU.")
    device = torch.device("cuda", 0)
    bandwidth = machine.read_bandwidth(device)
    torch.cuda.empty_cache()
    engine = _engine(_shape(options.size), device)
    shape = _shape(options.size)
    layer = (14 if shape.has_cross_attention else 12) * shape.dim**2
    weight_bytes = 2 * (layer * shape.layers + shape.codebooks * shape.card * shape.dim)
    print(f"{options.size}, half, guidance 3; {machine.describe(device)}")
    print(f"python -m bench.gpu_step --size {options.size}")
    print(
        f"memory reads at {bandwidth / 1e9:.0f} GB/s; a step reads {weight_bytes / 1e9:.2f} GB of weights", flush=True
    )
    for count, position, rows in SCENES:
        scene = Scene(engine, count, position, rows)
        floor = 1000 * (weight_bytes + scene.cached_bytes) / bandwidth
        eager, replay = _host_ms(scene.step), captured(scene.step)
        graph = device_ms(replay)
        kind = "" if rows == 2 else ", not guided"
        print(f"\n{count} slots at frame {position}{kind}: {eager:.1f} ms kernel by kernel, {graph:.2f} ms as a graph")
        print(f"its bytes take {floor:.2f} ms, {floor / graph:.0%} of that")
        print(_by_kind(replay), flush=True)
        del scene, replay
        torch.cuda.empty_cache()
    _window(engine, device)


def _shape(size: str) -> weights.DecoderShape:
    sizes = implementations.SIZES["large" if size == STEREO_MELODY else size]
    dim, heads, layers = sizes["dim"], sizes["num_heads"], sizes["num_layers"]
    if size == STEREO_MELODY:
        return weights.DecoderShape(dim, heads, layers, 4 * dim, 8, 2048, False)
    return weights.DecoderShape(dim, heads, layers, 4 * dim, 4, 2048, True)


def _engine(shape: weights.DecoderShape, device: torch.device) -> Engine:
    """Create an engine with random weights, and a random condition for every request, drawn on the device."""
    dim = shape.dim
    numerics = Numerics(Precision.HALF, device)

    def take(_name: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=numerics.dtype) / dim**0.5

    if shape.has_cross_attention:
        condition = ConditionTensors((torch.randn(TEXT_LENGTH, dim, device=device),), None)
    else:
        condition = ConditionTensors((), torch.randn(2, PREFIX_LENGTH, dim, device=device))
    delays = [0, 0, 1, 1, 2, 2, 3, 3] if shape.codebooks == 8 else range(4)
    packed = weights.build(shape, take, numerics.pack_weight, numerics.pack_unquantised, numerics.dtype)
    return Engine(packed, delays, lambda _: condition, numerics, WINDOW, _AllSlots())


class _AllSlots:
    """As many slots as are wanted: nothing else is on the device."""

    def reserve(self, _slot_bytes: int, slots: int) -> int:
        """See `SlotMemory.reserve`."""
        return slots

    def release(self) -> None:
        """See `SlotMemory.release`."""


def captured(step: Call) -> Call:
    """Capture a step as a CUDA graph."""
    for _ in range(2):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def device_ms(call: Call) -> float:
    """Milliseconds per call in a sequence of calls: the median of several rounds."""
    call()
    rounds = []
    for _ in range(_ROUNDS):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        for _ in range(_REPEATS):
            call()
        last.record()
        last.synchronize()
        rounds.append(first.elapsed_time(last) / _REPEATS)
    return statistics.median(rounds)


def _host_ms(call: Call) -> float:
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        call()
    torch.cuda.synchronize()
    return 100 * (time.perf_counter() - started)


def _by_kind(call: Call) -> str:
    """Format the number and time of a call's kernels, by kind."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(_PROFILED):
            call()
        torch.cuda.synchronize()
    counts: dict[str, int] = defaultdict(int)
    times: dict[str, float] = defaultdict(float)
    for event in profiled.events() or []:
        if event.device_type.name == "CUDA":
            kind = _kind(event.name)
            counts[kind] += 1
            times[kind] += event.time_range.elapsed_us() / 1000
    total = sum(times.values())
    lines = [f"{'in all':28}{sum(counts.values()) / _PROFILED:7.0f} kernels{total / _PROFILED:9.3f} ms"]
    for kind, spent in sorted(times.items(), key=lambda item: -item[1]):
        share = f"{spent / total:8.1%}"
        lines.append(f"{kind:28}{counts[kind] / _PROFILED:7.0f} kernels{spent / _PROFILED:9.3f} ms{share}")
    return "\n".join(lines)


def _kind(name: str) -> str:
    for kind, parts in _KINDS.items():
        if any(part in name.lower() for part in parts):
            return kind
    return "other"


def _window(engine: Engine, device: torch.device) -> None:
    """Print how long many clips of a whole window take at once."""
    requests = [
        SlotRequest(CONDITION, None, WINDOW, Sampling(), torch.Generator(device).manual_seed(seed))
        for seed in range(CLIPS)
    ]
    torch.cuda.synchronize()
    started = time.perf_counter()
    engine.generate_many(requests, lambda *_: None)
    torch.cuda.synchronize()
    elapsed = time.perf_counter() - started
    print(
        f"\n{CLIPS} clips of {WINDOW} frames at once: {elapsed:.1f} s, {1000 * elapsed / WINDOW:.2f} ms a step, "
        f"{CLIPS * WINDOW / FRAME_RATE / elapsed:.0f} seconds of music per second"
    )


if __name__ == "__main__":
    main()
