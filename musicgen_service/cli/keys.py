"""The `keys` command: adds, lists and removes API keys."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from musicgen_service.cli.errors import CommandError
from musicgen_service.cli.parser import Parser
from musicgen_service.cli.tables import subcommand


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.epilog = "They are in the file that MUSICGEN_API_KEYS_FILE names. A server reads it again when it changes."
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    subcommand(commands, "add", "make a key and print it, this once", _add).add_argument("name", metavar="NAME")
    subcommand(commands, "list", "print the names of all keys", _list)
    subcommand(commands, "remove", "make a key invalid", _remove).add_argument("name", metavar="NAME")


def _add(options: argparse.Namespace) -> None:
    from musicgen_service.serving import api_keys

    print(api_keys.add(_file(), options.name))


def _list(_options: argparse.Namespace) -> None:
    from musicgen_service.serving import api_keys

    for name in api_keys.read(_file()):
        print(name)


def _remove(options: argparse.Namespace) -> None:
    from musicgen_service.serving import api_keys

    api_keys.remove(_file(), options.name)


def _file() -> Path:
    from musicgen_service import settings

    file = settings.load().api_keys_file
    if file is None:
        raise CommandError("MUSICGEN_API_KEYS_FILE must name the file of API keys; `keys add` makes it.")
    return file
