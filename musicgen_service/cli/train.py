"""The `train` command: trains an adapter on songs of one's own."""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from musicgen_service import home
from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.parser import Parser, complete_with
from musicgen_service.client_errors import is_out_of_memory
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests import unicode_text
from musicgen_service.training import options as training_options
from musicgen_service.training.numbers import NUMBERS, Number
from musicgen_service.training.options import Options

_FETCH_SECONDS = 600.0
"""How long an archive of songs may take to arrive."""
OUT_OF_MEMORY = "There was not enough memory: train with --checkpointing, a smaller --crop or a smaller --base."


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.epilog = f'For example: {parser.prog} songs/ --name mystyle --base small --trigger "in mystyle"'
    parser.add_argument(
        "songs",
        nargs="+",
        metavar="SONGS",
        help="folders, zips, tars or files of songs, also by address; a .txt or .json beside each",
    )
    parser.add_argument("--name", required=True, help="of the adapter, by which requests ask for it")
    bases = parser.add_argument("--base", required=True, metavar="MODEL", help="the checkpoint to train on")
    complete_with(bases, CHECKPOINTS)
    parser.add_argument(
        "--trigger", metavar="TEXT", help="words that ask for it; without them the model stays as it was"
    )
    parser.add_argument("--caption", metavar="TEXT", help="of songs without a text (default: the names of their files)")
    parser.add_argument(
        "--as-written", action="store_true", default=None, help="do not add tempo, key and metre to the captions"
    )
    parser.add_argument("--drop-vocals", action="store_true", help="take the vocals out of the songs first")
    for name, number in NUMBERS.items():
        parser.add_argument(f"--{name}", type=_number(name, number), metavar="N", help=number.meaning)
    targets = ",".join(training_options.TARGETS)
    parser.add_argument("--targets", type=_targets, metavar="NAMES", help=f"matrices to change, of {targets}")
    parser.add_argument(
        "--checkpointing", action=argparse.BooleanOptionalAction, help="save memory, at the cost of time"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what is understood of the songs, and stop")
    parser.add_argument("--restart", action="store_true", help="begin anew where a training was interrupted")
    parser.add_argument("--force", action="store_true", help="replace an adapter of that name")
    parser.add_argument("--json", action="store_true", help="print what happens as lines of JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is understood of the songs, and train on them."""
    from musicgen_service.models.adapters import AdapterStore
    from musicgen_service.models.store import WeightStore

    chosen = _options(options)
    store = WeightStore.from_environment()
    adapters = AdapterStore.of(store)
    adapters.check_new(chosen.name, replace=options.force)
    store.component(chosen.base)
    _require_packages()
    from musicgen_service.cli.training_progress import TrainingLines, TrainingProgress
    from musicgen_service.training import run as training
    from musicgen_service.training.errors import TrainingError
    from musicgen_service.training.processes import Processes

    processes = Processes.started()
    progress = TrainingLines() if options.json else TrainingProgress()
    try:
        with ExitStack() as stack:
            paths = stack.enter_context(_local(options.songs if processes.is_main else ()))
            songs = stack.enter_context(training.understood(paths, chosen, store, progress.report, processes))
            if processes.is_main:
                progress.understood(songs)
            if options.dry_run:
                return
            training.train(
                songs,
                chosen,
                store,
                processes.device,
                progress.report,
                processes,
                restart=options.restart,
                replace=options.force,
            )
    except KeyboardInterrupt:
        progress.close()
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        raise
    except TrainingError as error:
        raise CommandError(str(error)) from None
    except Exception as error:
        if is_out_of_memory(error):
            raise CommandError(OUT_OF_MEMORY) from None
        raise
    finally:
        progress.close()
    if processes.is_main:
        progress.trained(adapters.get(chosen.name), chosen.trigger)


@contextmanager
def _local(songs: Sequence[str]) -> Iterator[list[Path]]:
    """Yield the paths of songs; what is given by address is there for the block."""
    from musicgen_service import settings
    from musicgen_service.inputs import fetching

    limit = int(settings.load().max_songs_mb * 2**20)
    with tempfile.TemporaryDirectory(prefix="musicgen-fetched-") as folder:
        paths = []
        for number, given in enumerate(songs):
            if not fetching.is_address(given):
                paths.append(home.expanded(given))
                continue
            own = Path(folder, str(number))
            own.mkdir()
            try:
                paths.append(fetching.fetch(given, own, limit, _FETCH_SECONDS))
            except fetching.SourceError as error:
                raise CommandError(f"{given[:100]} could not be fetched: {error}") from None
        yield paths


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
        text = " ".join((values[name] or "").split())
        if not unicode_text.is_valid(text):
            raise UsageError(f"--{name} must be text in UTF-8.")
        values[name] = text or None
    return Options(**values)


def _require_packages() -> None:
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise CommandError("Training needs the extra 'train': run `pip install 'musicgen-service[train]'`.")


def _number(name: str, number: Number) -> Callable[[str], int | float]:
    kind, low, high, _ = number

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
