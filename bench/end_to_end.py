"""Complete command-line requests with the shipped checkpoint: time and memory by length."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DURATIONS = (10, 30, 60, 120, 240)
"""Seconds of music. The checkpoint's window is 20 s, so most of them take several windows."""
_COMMAND = """
import sys
from pathlib import Path
from musicgen_service.cli import main
main(sys.argv[1:])
print(Path("/proc/self/status").read_text())
"""
"""The command, which then prints its peak memory (a child's `ru_maxrss` would include its parent's)."""
_PROMPT = "house synth with drums, 120 bpm, c major"


def measure(durations: tuple[int, ...] = DURATIONS) -> dict[int, dict[str, float]]:
    """Measure for each duration the seconds of the command and of the request alone, and the peak memory in GB."""
    return {duration: _run(duration) for duration in durations}


def _run(duration: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        inputs = [f"prompt={_PROMPT}", "model_version=demo", f"duration={duration}", "seed=1"]
        words = [word for pair in inputs for word in ("-i", pair)]
        command = [sys.executable, "-c", _COMMAND, "predict", *words, "-o", str(Path(folder) / "clip.wav")]
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        seconds = time.perf_counter() - started
    request = float(done.stdout.split("made in ")[1].split()[0])
    peak_kib = float(done.stdout.split("VmHWM:")[1].split()[0])
    return {"seconds": seconds, "request_seconds": request, "peak_gb": 1024 * peak_kib / 1e9}


def table(figures: dict[int, dict[str, Any]]) -> str:
    """Format the figures as a table."""
    lines = [f"{'demo, whole request':20}{'command':>9}{'request':>9}{'x real time':>13}{'memory':>10}"]
    for duration, figure in figures.items():
        speed = duration / figure["seconds"]
        lines.append(
            f"{f'{duration} s of music':20}{figure['seconds']:7.1f} s{figure['request_seconds']:7.1f} s"
            f"{speed:13.2f}{figure['peak_gb']:7.2f} GB"
        )
    return "\n".join(lines)
