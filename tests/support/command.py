"""The command `predict`, run in this process in the folder of a test."""

from pathlib import Path

import pytest

from musicgen_service import cli

Capture = pytest.CaptureFixture[str]


def predict(*arguments: str) -> None:
    cli.main(["predict", "--duration", "1", "--seed", "5", "--model_version", "small", *arguments])


def found() -> list[str]:
    """All files and folders in the current folder, including hidden ones."""
    return sorted(str(path) for path in Path().rglob("*"))
