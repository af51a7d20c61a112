"""Running commands in tests, in process or in a separate process."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from musicgen_service import cli

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "musicgen_service")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Run a command that must fail; returns its error message."""
    return ending(capsys, lambda: cli.main(list(arguments)), status)


def ending(capsys: pytest.CaptureFixture[str], run: Callable[[], None], status: int) -> str:
    """Call `run`, which must exit with `status` and no output; returns the last line of standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run()
    captured, code = capsys.readouterr(), ended.value.code
    if isinstance(code, str):  # Python itself prints it as it ends
        captured, code = captured._replace(err=f"{captured.err}{code}\n"), 1
    assert (code, captured.out) == (status, "")
    return str(captured.err.splitlines()[-1]) if captured.err else ""


def environment() -> dict[str, str]:
    """This process's environment, with the package importable from any folder."""
    return {**os.environ, "PYTHONPATH": str(PROJECT)}
