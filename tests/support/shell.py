"""What tests of commands share: running one, here or in a process of its own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from musicgen_service import cli

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "musicgen_service")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one sentence with which a command ends."""
    return ending(capsys, lambda: cli.main(list(arguments)), status)


def ending(capsys: pytest.CaptureFixture[str], run: Callable[[], None], status: int) -> str:
    """The last line that what is run says on standard error; it must exit with that status and print nothing else."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run()
    told, code = capsys.readouterr(), ended.value.code
    if isinstance(code, str):  # Python itself prints it as it ends
        told, code = told._replace(err=f"{told.err}{code}\n"), 1
    assert (code, told.out) == (status, "")
    return str(told.err.splitlines()[-1]) if told.err else ""


def environment() -> dict[str, str]:
    """This process's environment, in which the package is found from any folder."""
    return {**os.environ, "PYTHONPATH": str(PROJECT)}
