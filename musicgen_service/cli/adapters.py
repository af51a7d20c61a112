"""The `adapters` command: lists, shows, imports, exports and removes adapters."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from musicgen_service import home
from musicgen_service.cli.files import writable_targets
from musicgen_service.cli.parser import Parser, complete_with
from musicgen_service.cli.tables import print_table, size, subcommand
from musicgen_service.models.catalogue import CHECKPOINTS

if TYPE_CHECKING:
    from musicgen_service.models.adapters import AdapterStore


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    listing = subcommand(commands, "list", "what there is", _list)
    listing.add_argument("--json", action="store_true", help="print it as JSON")
    show = subcommand(commands, "show", "print the card of an adapter", _show)
    show.add_argument("name", metavar="NAME")
    add = subcommand(commands, "import", "add an adapter that PEFT wrote: a folder or zip", _import)
    add.add_argument("file", metavar="FILE", help="a folder or zip with adapter_config.json")
    add.add_argument("--name", help="that it gets (default: that of the file)")
    base = add.add_argument("--base", metavar="MODEL", help="the checkpoint that it was trained on, if it does not say")
    base.choices = list(CHECKPOINTS)
    complete_with(base, CHECKPOINTS)
    add.add_argument("--force", action="store_true", help="replace an adapter of that name")
    export = subcommand(commands, "export", "write an adapter as a zip", _export)
    export.add_argument("name", metavar="NAME")
    export.add_argument("-o", "--output", metavar="FILE", help="default: NAME.zip")
    export.add_argument("--force", action="store_true", help="overwrite the file")
    subcommand(commands, "remove", "remove an adapter", _remove).add_argument("name", metavar="NAME")


def _store() -> "AdapterStore":
    from musicgen_service.models.adapters import AdapterStore
    from musicgen_service.models.store import WeightStore

    return AdapterStore.of(WeightStore.from_environment())


def _list(options: argparse.Namespace) -> None:
    entries = _store().summaries()
    if options.json:
        print(json.dumps(entries, indent=2))
        return
    rows: list[tuple[str, ...]] = [("NAME", "BASE", "RANK", "SIZE", "LICENCE")]
    for entry in entries:
        if "problem" in entry:
            rows.append((entry["name"], entry["problem"], "-", "-", "-"))
        else:
            rows.append((entry["name"], entry["base"], str(entry["rank"]), size(entry["bytes"]), entry["licence"]))
    print_table(rows, "<<>><")


def _show(options: argparse.Namespace) -> None:
    from musicgen_service.models.adapters import CARD_FILE

    adapter = _store().get(options.name)
    for name, value in adapter.summary.items():
        print(f"{name:10}  {value}")
    card = adapter.folder / CARD_FILE
    if card.is_file():
        print(f"\n{card.read_text(encoding='utf-8', errors='replace')}", end="")


def _import(options: argparse.Namespace) -> None:
    from musicgen_service.models import adapter_exchange
    from musicgen_service.models.store import WeightStore

    path = home.expanded(options.file)
    name = options.name or path.name.removesuffix(".zip")
    store = WeightStore.from_environment()
    adapter = adapter_exchange.import_(store, path, name, options.base, replace=options.force)
    print(f"imported '{adapter.name}', for model '{adapter.base}'")


def _export(options: argparse.Namespace) -> None:
    from musicgen_service.models import adapter_exchange

    adapter = _store().get(options.name)
    target = home.expanded(options.output or f"{adapter.name}.zip")
    with writable_targets([target], force=options.force):
        adapter_exchange.export(adapter, target)
    print(target)


def _remove(options: argparse.Namespace) -> None:
    _store().remove(options.name)
    print(f"removed '{options.name}'")
