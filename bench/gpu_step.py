"""Profile of an engine step on a GPU, and reuse of buffers and graphs between calls.

    python -m bench.gpu_step --size large

Weights, keys and values are random: the time of a step does not depend on them. Every step is timed with the device's
own clock, launched kernel by kernel and as one captured graph, and compared with the time to read its bytes at the
bandwidth that a plain sum reaches. Needs a GPU.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from unittest.mock import patch

from bench import implementations, machine
from musicgen_service.engine import weights
from musicgen_service.engine.attention import BatchedAttention
from musicgen_service.engine.cuda_graph import StepGraphs
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling, SlotRequest
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.slots import BLOCK, Buffers, Slots

import torch
from torch.profiler import ProfilerActivity, profile

SCENES = ((1, 100), (1, 1400), (32, 100), (32, 750), (32, 1400))
"""Numbers of slots, and the position of all of them."""
CALLS = (32, 32, 1, 32, 4, 1, 1, 32)
"""Numbers of requests in consecutive calls."""
CONDITION = Condition(implementations.TEXT)
WINDOW = 1500
"""Frames of those requests: 30 s."""
TEXT_CAPACITY = 256
TEXT_LENGTH = 12
_REPEATS, _ROUNDS = 40, 3
_PROFILED = 3
_KINDS = {
    "attention": ("sdpa", "fmha", "flash"),
    "products": ("nvjet", "gemm", "gemv", "cutlass", "splitk"),
    "norms": ("layer_norm",),
    "GELU": ("gelu",),
    "indexing and sampling": ("index", "gather", "scatter", "topk", "sort", "softmax", "reduce"),
    "copies": ("copy", "memcpy", "memset"),
    "adding, filling, choosing": ("elementwise",),
}
"""Kinds of kernels by parts of their names; the first match counts."""

Call = Callable[[], object]


class Scene:
    """Slots that all stay at one position."""

    def __init__(self, engine: Engine, count: int, position: int) -> None:
        decoder = engine._decoder
        capacity = -(-(position + 1) // BLOCK) * BLOCK
        decoder.reserve_positions(capacity)
        self._buffers = buffers = Buffers(decoder, count, capacity, TEXT_CAPACITY, 1)
        self._slots = Slots(decoder, engine._pattern, buffers)
        self._count = count
        assert buffers.text is not None
        for cache in (buffers.cache, buffers.text):
            cache.buffer.normal_()
        buffers.tokens.random_(0, decoder.weights.card)
        buffers.noise.exponential_(1)
        for slot in range(count):
            buffers.controls.set(slot, Sampling())
        buffers.position.fill_(position)
        buffers.column.fill_(position)
        buffers.text_lengths.fill_(TEXT_LENGTH)
        row = len(decoder.weights.layers) * decoder.weights.dim * decoder.dtype.itemsize
        self.cached_bytes = 2 * row * count * (2 * (position + 1) + TEXT_LENGTH)

    @torch.inference_mode()
    def step(self) -> None:
        """Run one step, kernel by kernel."""
        buffers = self._buffers
        span = buffers.cache.shape.capacity
        attention = BatchedAttention(buffers.cache, buffers.text, buffers.position, buffers.text_lengths, span)
        self._slots._decode_step(self._count, attention, buffers.noise.shape[-1], False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this needs a GPU.")
    device = torch.device("cuda", 0)
    bandwidth = machine.read_bandwidth(device)
    torch.cuda.empty_cache()
    engine = _engine(options.size, device)
    config = implementations.SIZES[options.size]
    weight_bytes = 2 * (14 * config["dim"] ** 2 * config["num_layers"] + 4 * 2048 * config["dim"])
    print(f"{options.size}, half, guidance 3; {machine.describe(device)}")
    print(f"python -m bench.gpu_step --size {options.size}")
    print(
        f"memory reads at {bandwidth / 1e9:.0f} GB/s; a step reads {weight_bytes / 1e9:.2f} GB of weights", flush=True
    )
    for count, position in SCENES:
        scene = Scene(engine, count, position)
        floor = 1000 * (weight_bytes + scene.cached_bytes) / bandwidth
        eager, replay = _host_ms(scene.step), captured(scene.step)
        graph = device_ms(replay)
        print(f"\n{count} slots at frame {position}: {eager:.1f} ms kernel by kernel, {graph:.2f} ms as a graph")
        print(f"its bytes take {floor:.2f} ms, {floor / graph:.0%} of that")
        print(_by_kind(replay), flush=True)
        del scene, replay
        torch.cuda.empty_cache()
    print(f"\ncalls of so many requests of {WINDOW} frames, 20 of them new")
    _calls(engine, device)


def _engine(size: str, device: torch.device) -> Engine:
    """Create an engine with random weights, and a random text for every condition, drawn on the device."""
    sizes = implementations.SIZES[size]
    dim = sizes["dim"]
    shape = weights.DecoderShape(dim, sizes["num_heads"], sizes["num_layers"], 4 * dim, 4, 2048, True)
    numerics = Numerics(Precision.HALF, device)

    def take(_name: str, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=numerics.dtype) / dim**0.5

    text = torch.randn(TEXT_LENGTH, dim, device=device)
    packed = weights.build(shape, take, numerics.pack_weight, numerics.dtype)
    return Engine(packed, range(4), lambda _: ConditionTensors((text,), None), numerics)


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


def _calls(engine: Engine, device: torch.device) -> None:
    """Print for each call whether its buffers are new, their number of slots, and the graphs captured."""
    captures: list[float] = []
    capture = StepGraphs._capture

    def timed(self: StepGraphs, step: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        torch.cuda.synchronize()
        started = time.perf_counter()
        graph = capture(self, step)
        captures.append(1000 * (time.perf_counter() - started))
        return graph

    prompt = torch.randint(0, 2048, (4, WINDOW - 20))
    with patch.object(StepGraphs, "_capture", timed):
        for count in CALLS:
            captures.clear()
            before = engine.loop.buffers
            requests = [
                SlotRequest(
                    Condition(implementations.TEXT),
                    prompt,
                    WINDOW,
                    Sampling(),
                    torch.Generator(device).manual_seed(seed),
                )
                for seed in range(count)
            ]
            engine.generate_many(requests, lambda *_: None)
            buffers = engine.loop.buffers
            assert buffers is not None
            kept = "kept" if buffers is before else "new"
            slots = buffers.cache.shape.slots
            held = torch.cuda.memory_reserved(device) / 1e9
            captured_in = f"{len(captures)} captures in {sum(captures):.0f} ms"
            print(
                f"{count:3} requests: {kept:4} buffers of {slots:2} slots, {captured_in}, {held:.1f} GB held",
                flush=True,
            )


if __name__ == "__main__":
    main()
