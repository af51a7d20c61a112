"""How long it takes until a command, the server and the ears are there, and a model is loaded.

    python -m bench.start

Each case is a process of its own, several times; the least processor time counts, which other work on the machine
changes little. `serve` is also timed by the clock. What listening adds is the first analysis of a recording less the
second one in the same process: imports, networks and what they compile. With `--load` a random checkpoint of the size
of `small` is loaded, after its checksums were kept, beside reading its files once, from the memory in which the system
keeps them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import implementations, machine
from tests.support import harness

import psutil
import torch

_PROMPT = ("predict", "lofi piano, 90 bpm", "--seed", "1", "--force", "-o")
_EARS = """
import sys, time
from pathlib import Path
started = time.process_time()
from musicgen_service.analysis import report
from musicgen_service.audio import reading
from musicgen_service.models import beat_tracking, chord_recognition, transcription
from musicgen_service.models.store import WeightStore
audio, costs = reading.read(Path(sys.argv[1])), []
track, chords = beat_tracking.choose(WeightStore.from_environment()), chord_recognition.choose()
notes = transcription.choose()
for _ in range(2):
    report.analyse(audio, track, chords)
    notes(audio.mono, audio.rate, lambda _share: None)
    costs.append(time.process_time() - started)
print(costs[0] - (costs[1] - costs[0]))
"""
_LOAD = """
import os, sys, time
from pathlib import Path
import torch
from musicgen_service import threads
from musicgen_service.models import loading
from musicgen_service.models.store import WeightStore
torch.set_num_threads(threads.limit())
files = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
buffer = bytearray(2**24)
def read():
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
store = WeightStore(Path(sys.argv[1]))
read()
for action in (read, lambda: loading.load_model(store.checkpoint("small"), torch.device("cpu"))):
    started = time.process_time()
    action()
    print(time.process_time() - started)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="processes of every case (default %(default)s)")
    parser.add_argument("--load", action="store_true", help="also load a random checkpoint of the size of `small`")
    options = parser.parse_args()
    print(f"{machine.describe(torch.device('cpu'))}; load average {os.getloadavg()[0]:.1f}")
    print(f"python -m bench.start {' '.join(sys.argv[1:])}".rstrip(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "clip.wav")
        command = ["-m", "musicgen_service"]
        cases: dict[str, list[str]] = {
            "python and torch alone": ["-c", "import torch"],
            "predict, 1 s with the demo": [*command, *_PROMPT, clip, "--duration", "1"],
            "predict, 8 s with the demo": [*command, *_PROMPT, clip, "--duration", "8"],
            "analyse, the same 8 s": [*command, "analyse", clip],
        }
        for name, arguments in cases.items():
            _print(name, [_processor_time(arguments) for _ in range(options.turns)])
        _print("beats, chords and notes, what they add", [_output(_EARS, clip)[0] for _ in range(options.turns)])
        waits, costs = zip(*(_ready(Path(folder) / f"server{turn}") for turn in range(options.turns)), strict=True)
        _print("serve, until it is ready", waits, "s by the clock")
        _print("the same, all of its processes", costs)
    if options.load:
        with implementations.random_store("small") as store:
            for part in store.root.iterdir():
                store.write_manifest(part.name)
            turns = [_output(_LOAD, str(store.root)) for _ in range(options.turns)]
        for name, seconds in zip(("reading the files of `small`", "loading it"), zip(*turns, strict=True), strict=True):
            _print(name, seconds)


def _print(name: str, seconds: Sequence[float], unit: str = "s of processor time") -> None:
    print(f"{name:40}{min(seconds):6.2f} {unit} (at most {max(seconds):.2f})", flush=True)


def _processor_time(arguments: list[str]) -> float:
    """Seconds of processor time of a Python with arguments."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} failed")
    return usage.ru_utime + usage.ru_stime


def _output(program: str, argument: str) -> list[float]:
    """The numbers that a program prints."""
    command = [sys.executable, "-c", program, argument]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def _ready(temp: Path) -> tuple[float, float]:
    """Seconds until a server is ready, and the processor time of all its processes by then."""
    started = time.perf_counter()
    with harness.serving(["-m", "musicgen_service", "serve", "--port"], Path.cwd(), temp) as server:
        seconds = time.perf_counter() - started
        root = psutil.Process(server.process.pid)
        spent = sum(sum(process.cpu_times()[:2]) for process in (root, *root.children(recursive=True)))
    return seconds, spent


if __name__ == "__main__":
    main()
