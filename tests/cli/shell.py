"""What tests of commands share: running one, here or in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import cli

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "musicgen_service")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one sentence with which a command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as refused:
        cli.main(list(arguments))
    assert refused.value.code == status
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.splitlines()[-1]


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, in the current folder."""
    return subprocess.run([*COMMAND, *arguments], text=True, capture_output=True, env=environment(), **options)


def environment() -> dict[str, str]:
    """This process's environment, in which the package is found from any folder."""
    return {**os.environ, "PYTHONPATH": str(PROJECT)}
