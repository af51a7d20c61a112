"""What a benchmark ran on, and how fast its memory is read."""

import os
import platform
import time
from pathlib import Path

import torch

_REPEATS = 5


def describe(device: torch.device) -> str:
    """Processor, threads and torch, in one line."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
        name += f" ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def read_bandwidth(device: torch.device) -> float:
    """Bytes per second that a plain sum reads from memory: what decoding at best reaches."""
    # On a GPU as large as a large model, so that the time until the first byte is read does not count.
    block = torch.ones(2**31 if device.type == "cuda" else 2**26, device=device)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        block.sum().item()
        times.append(time.perf_counter() - started)
    return block.nbytes / min(times)
