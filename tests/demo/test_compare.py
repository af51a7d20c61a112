"""One command compares a trained checkpoint with the shipped one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


WEIGHTS = Path(__file__).parents[2] / "weights"


def compare(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "bench.compare", *arguments], capture_output=True, text=True)


def test_the_shipped_checkpoint_is_as_good_as_itself() -> None:
    done = compare(WEIGHTS, "--shipped", WEIGHTS, "--clips", "1", "--only", "codec")
    assert done.returncode == 0, done.stderr
    *table, verdict, figures = done.stdout.splitlines()
    assert any("codec: chroma cosine" in line for line in table)
    assert verdict.startswith("targets met: ")
    parsed = json.loads(figures)
    assert parsed["trained"] == parsed["shipped"]
    assert parsed["trained"]["codec: chroma cosine"]["chroma"] > 0.9


def test_folder_without_a_checkpoint_is_rejected(tmp_path: Path) -> None:
    done = compare(tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} has no demo checkpoint in it" in done.stderr
