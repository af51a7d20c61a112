"""Description of the machine that runs a benchmark, and its memory bandwidth."""

import os
import platform
import time
from pathlib import Path

import torch

_REPEATS = 5


def describe(device: torch.device) -> str:
    """Describe processor, threads and versions in one line."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
        name += f" ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def read_bandwidth(device: torch.device) -> float:
    """Measure the bytes per second that a plain sum reads from memory: an upper bound for decoding."""
    # On a GPU the block is as large as a large model, so that the launch latency is negligible.
    block = torch.ones(2**31 if device.type == "cuda" else 2**26, device=device)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        block.sum().item()
        times.append(time.perf_counter() - started)
    return block.nbytes / min(times)
