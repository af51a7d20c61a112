"""The command `batch`, run in this process, and what it leaves in its folder."""

import json
from pathlib import Path
from typing import Any

from musicgen_service import cli

SHORT = ("--set", "duration=1", "--set", "model_version=small", "--no-analysis")


def batch(*arguments: str) -> None:
    """Run the command on `list.jsonl` in the current folder, into `out`, with the smallest model."""
    cli.main(["batch", "list.jsonl", "out", *SHORT, *arguments])


def write_list(*lines: dict[str, Any], name: str = "list.jsonl") -> None:
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def records(folder: str | Path = "out", name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    """What a manifest says, line by line."""
    return [json.loads(line) for line in Path(folder, name).read_text().splitlines()]


def files(folder: str | Path = "out") -> dict[str, bytes]:
    """Every file but for manifests, hidden ones and those in folders included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.startswith("manifest")
    }
