"""What it costs to analyse ten minutes of music: seconds and memory, with everything and without networks.

    python -m bench.long_file

Each analysis is a process of its own, started like the command, so that its imports count and its memory is its own.
The music is synthesised songs, one after the other, in stereo at 44.1 kHz as most files are.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.analysis import FIRST_SEED
from demo.synth import SAMPLE_RATE, Synthesiser

import numpy as np
import soundfile
import soxr
import torch

MINUTES = 10.0
_SONG_SECONDS = 60.0
_RATE = 44_100
_RIGHT, _LATER = 0.8, 0.002  # level of the right channel, and the seconds that it comes later
_WITHOUT_NETWORKS = """
import sys
from pathlib import Path
from musicgen_service.analysis import beats, chords, report
from musicgen_service.audio import reading
print(report.analyse(reading.read(Path(sys.argv[1])), beats.track, chords.recognise))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args()
    print(machine.describe(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        _write(path, options.minutes * 60)
        midi = ["--midi", str(Path(folder) / "long.mid")]
        for name, arguments in (
            ("everything", ["-m", "musicgen_service", "analyse", str(path), "--json"]),
            ("with notes", ["-m", "musicgen_service", "analyse", str(path), "--json", *midi]),
            ("without networks", ["-c", _WITHOUT_NETWORKS, str(path)]),
        ):
            seconds, busy, mebibytes = _cost(arguments)
            cost = f"{seconds:6.1f} s, {busy:6.1f} s of processor time, {mebibytes:5.0f} MiB at most"
            print(f"{name:18} {options.minutes:g} minutes: {cost}", flush=True)


def _write(path: Path, seconds: float) -> None:
    with soundfile.SoundFile(path, "w", _RATE, channels=2) as file:
        for number in range(int(np.ceil(seconds / _SONG_SECONDS))):
            song = Synthesiser().song(FIRST_SEED + number, min(_SONG_SECONDS, seconds - number * _SONG_SECONDS))
            sound = soxr.resample(song.audio, SAMPLE_RATE, _RATE)
            # The channels differ, as those of music do.
            file.write(np.stack([sound, _RIGHT * np.roll(sound, round(_LATER * _RATE))], axis=1))


def _cost(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak resident memory in MiB, of a Python with arguments.

    Raises
    ------
    RuntimeError
        It failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments} failed")
    # Kibibytes on Linux, bytes on macOS.
    seconds = time.perf_counter() - started
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


if __name__ == "__main__":
    main()
