"""Runs the stages of training in sequence in one folder; finished stages are skipped."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from demo.training import train_codec, train_language_model
from demo.training.export import export
from demo.training.files import atomic_write, remove_partial
from demo.training.progress import duration
from demo.training.recipe import Recipe


class FolderError(RuntimeError):
    """The training folder cannot be used; the message says why."""


def train(folder: Path, recipe: Recipe, device: str) -> None:
    """Train the demo checkpoint in `folder`, resuming from its current state.

    The folder then contains the checkpoint `weights/demo`, and the state for resuming: the quantiser, the songs'
    shards, and both networks with their optimisers.

    Raises
    ------
    FolderError
        When another process trains in the folder, or it was begun with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / "lock").acquire(timeout=0)
    except Timeout:
        raise FolderError(f"Another process trains in {folder}: wait for it, or choose another --folder.") from None
    with lock:
        remove_partial(folder)
        _check_recipe(folder, recipe)
        began = time.monotonic()
        stages: dict[str, Callable[[], object]] = {
            "quantiser": lambda: train_codec.fit_quantiser(folder, recipe),
            "codec": lambda: train_codec.train(folder, recipe, device),
            "language model": lambda: train_language_model.train(folder, recipe, device),
            "export": lambda: export(folder, folder / "weights" / "demo"),
        }
        for number, (name, run) in enumerate(stages.items(), 1):
            print(f"[{number}/{len(stages)}] {name}", flush=True)
            run()
        size = sum(path.stat().st_size for path in (folder / "weights" / "demo").rglob("*") if path.is_file())
        print(f"{folder / 'weights' / 'demo'}: {size / 1e6:.1f} MB after {duration(time.monotonic() - began)}")


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    """Record the recipe of a new folder; reject a folder with another recipe, whose parts would not fit."""
    path = folder / "recipe.json"
    if not path.exists():
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(asdict(recipe), indent=1))
    elif json.loads(path.read_text()) != asdict(recipe):
        raise FolderError(f"{folder} was begun with another recipe ({path}): choose another --folder.")
