"""The `train` command: trains an adapter on songs of one's own."""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.parser import Parser, complete_with
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.training import options as training_options
from musicgen_service.training.options import Options

if TYPE_CHECKING:
    from musicgen_service.training.run import Songs

_NUMBERS: dict[str, tuple[type, float, float, str]] = {
    "rank": (int, 1, 256, "rank of the LoRA: higher learns more and takes more room"),
    "alpha": (int, 1, 1024, "scale of the LoRA, over its rank"),
    "steps": (int, 1, 100_000, "steps at most; training stops when the held-out loss does"),
    "rate": (float, 1e-7, 1.0, "highest learning rate"),
    "batch": (int, 1, 64, "clips of a step"),
    "crop": (float, 5, 30, "seconds of a clip at most"),
    "dropout": (float, 0, 1, "share of clips without a caption; without a trigger"),
    "kept": (float, 0, 100, "how much the model is held to what it was where the trigger is not given"),
    "gain": (float, 0, 12, "also train on each song this many decibels softer and louder"),
    "pitch": (int, 0, 2, "also train on each song up to this many semitones lower and higher"),
    "seed": (int, 0, 2**32 - 1, "seed of all that is drawn"),
    "patience": (int, 1, 1000, "evaluations without a lower held-out loss after which training stops"),
    "every": (int, 1, 10_000, "steps between evaluations"),
}
"""Type, bounds and meaning of the options that are numbers."""


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.epilog = f'For example: {parser.prog} songs/ --name mystyle --base small --trigger "in mystyle"'
    parser.add_argument("songs", metavar="SONGS", help="a folder, zip or tar of songs; a .txt or .json beside each")
    parser.add_argument("--name", required=True, help="of the adapter, by which requests ask for it")
    bases = parser.add_argument("--base", required=True, metavar="MODEL", help="the checkpoint to train on")
    complete_with(bases, CHECKPOINTS)
    parser.add_argument(
        "--trigger", metavar="TEXT", help="words that ask for it; without them the model stays as it was"
    )
    parser.add_argument("--caption", metavar="TEXT", help="of songs without a text (default: the names of their files)")
    parser.add_argument("--drop-vocals", action="store_true", help="take the vocals out of the songs first")
    for name, (kind, low, high, meaning) in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=_number(name, kind, low, high), metavar="N", help=meaning)
    targets = ",".join(training_options.TARGETS)
    parser.add_argument("--targets", type=_targets, metavar="NAMES", help=f"matrices to change, of {targets}")
    parser.add_argument("--checkpointing", action="store_true", default=None, help="save memory, at the cost of time")
    parser.add_argument("--dry-run", action="store_true", help="print what is understood of the songs, and stop")
    parser.add_argument("--restart", action="store_true", help="begin anew where a training was interrupted")
    parser.add_argument("--force", action="store_true", help="replace an adapter of that name")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is understood of the songs, and train on them."""
    from musicgen_service.models.adapters import AdapterStore
    from musicgen_service.models.store import WeightStore

    chosen = _options(options)
    store = WeightStore.from_environment()
    AdapterStore.of(store).check_new(chosen.name, replace=options.force)
    store.component(chosen.base)
    _require_packages()
    from musicgen_service.cli.training_progress import TrainingProgress
    from musicgen_service.training import listening
    from musicgen_service.training import run as training
    from musicgen_service.training.errors import TrainingError

    progress = TrainingProgress()
    try:
        with training.understood(Path(options.songs).expanduser(), chosen, store, progress.report) as songs:
            progress.close()
            print(listening.table(songs.songs))
            print(_summary(songs), flush=True)
            if options.dry_run:
                return
            import torch

            if options.restart:
                shutil.rmtree(training.work_folder(store, chosen.name), ignore_errors=True)
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            folder = training.train(songs, chosen, store, device, progress.report)
    except KeyboardInterrupt:
        progress.close()
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        raise
    except TrainingError as error:
        raise CommandError(str(error)) from None
    finally:
        progress.close()
    print(f"trained: {folder}")
    print(f'use it with: predict "{chosen.trigger or "..."}" -i adapter={chosen.name}')


def _options(options: argparse.Namespace) -> Options:
    """The options of the training, with the defaults of its base."""
    if options.base not in CHECKPOINTS:
        from musicgen_service.cli.parser import must_be_one_of

        raise UsageError(must_be_one_of("--base", options.base, CHECKPOINTS))
    values = training_options.defaults(options.base) | {"name": options.name, "base": options.base}
    for name in values:
        given: Any = getattr(options, name, None)
        if given is not None:
            values[name] = given
    for name in ("trigger", "caption"):
        values[name] = " ".join((values[name] or "").split()) or None
    return Options(**values)


def _require_packages() -> None:
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise CommandError("Training needs the extra 'train': run `pip install 'musicgen-service[train]'`.")


def _summary(songs: "Songs") -> str:
    left_out = len(songs.songs) - len(songs.used)
    pieces = sum(len(song.pieces) for song in songs.used)
    text = f"{len(songs.used)} songs, {pieces} pieces, {songs.seconds / 60:.1f} minutes; {left_out} songs left out"
    if songs.others:
        shown = ", ".join(songs.others[:5]) + (", ..." if len(songs.others) > 5 else "")
        text += f"\nnot songs, left alone: {shown}"
    return text


def _number(name: str, kind: type, low: float, high: float) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        try:
            value: int | float = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            noun = "a whole number" if kind is int else "a number"
            raise UsageError(f"--{name} must be {noun} from {low:g} to {high:g}, not '{text}'.")
        return value

    return parse


def _targets(text: str) -> tuple[str, ...]:
    names = tuple(part for part in re.split(r"[,\s]+", text) if part)
    if not names or not set(names) <= set(training_options.TARGETS):
        raise UsageError(f"--targets must be some of {','.join(training_options.TARGETS)}, not '{text}'.")
    return names
