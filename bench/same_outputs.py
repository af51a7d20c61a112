"""Compares the files of two versions of the code, byte by byte, for every task, format and drop-in.

    python -m bench.same_outputs COMMIT

The requests are carried out in exact precision by the code of that commit and by the current code, with the same
weights (the shipped checkpoint and tiny random ones). Prints the differences; the exit code is 1 if there are any.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from demo.synth import SAMPLE_RATE, Synthesiser
from tests.support import checkpoints

import soundfile

PROJECT = Path(__file__).resolve().parents[1]
SCRIPT = PROJECT / "bench" / "recorded_requests.py"


def main() -> None:
    """Carry out the requests with both versions and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before, weights, song = Path(folder, "before"), Path(folder, "weights"), Path(folder, "song.wav")
        _check_out(options.commit, before)
        _prepare(weights, song)
        recorded = [_record_in(tree, weights, song) for tree in (before, PROJECT)]
    for name, files in recorded[1].items():
        print(name, *files, sep="\n  ", file=sys.stderr)
    differing = [name for name in recorded[1] if recorded[0].get(name) != recorded[1][name]]
    for name in differing:
        print(f"{name}\n  before: {recorded[0].get(name)}\n  now:    {recorded[1][name]}")
    print(f"{len(recorded[1])} requests, {len(differing)} with other files than at {options.commit}")
    sys.exit(bool(differing))


def _record_in(tree: Path, weights: Path, song: Path) -> dict[str, list[str]]:
    environment = os.environ | {
        "MUSICGEN_WEIGHTS": str(weights),
        "MUSICGEN_MODELS": "demo",
        "MUSICGEN_PRECISION": "exact",
        "PYTHONPATH": str(tree),
    }
    command = [sys.executable, str(SCRIPT), str(song)]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    recorded: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return recorded


def _check_out(commit: str, folder: Path) -> None:
    archive = subprocess.run(["git", "archive", commit], cwd=PROJECT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def _prepare(weights: Path, song: Path) -> None:
    """Create a weights folder with the shipped checkpoint and random ones, and six seconds of chords and drums."""
    weights.mkdir()
    (weights / "demo").symlink_to(PROJECT / "weights" / "demo")
    checkpoints.build_checkpoint(weights, "small")
    checkpoints.build_checkpoint(weights, "stereo-small", stereo=True)
    checkpoints.build_checkpoint(weights, "stereo-melody", stereo=True, melody=True)
    checkpoints.build_diffusion(weights)
    checkpoints.build_separator(weights)
    soundfile.write(song, Synthesiser().song(1, seconds=6).audio, SAMPLE_RATE)


if __name__ == "__main__":
    main()
