"""The commands, and how each of them ends."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from musicgen_service import __version__
from musicgen_service.cli import completion
from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.parser import Parser

_MODULE = "python -m musicgen_service"
COMMANDS = {
    "predict": "make clips of music",
    "serve": "answer HTTP requests with Cog's server",
    "weights": "list, fetch and verify checkpoints",
    "recipe": "print the command that makes a clip again",
    "analyse": "print tempo, beats, key, loudness and chords of a recording",
    "completion": "print what makes your shell complete these commands",
}
"""Each is a module beside this one, imported when it is called: a start takes no longer than its command needs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with status 2 when it cannot be understood, 1 when it fails, and one line on either."""
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has had enough, as `head` has. Python would complain once more as it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except UsageError as error:
        _leave(f"error: {error}", 2)
    except Exception as error:
        sys.exit(f"error: {_sentence(error)}")


def _run(arguments: Sequence[str]) -> None:
    words = completion.words_to_complete()
    parser = _parser(arguments if words is None else words)
    if words is not None:
        completion.answer(parser)
    options, left_over = parser.parse_known_args(arguments)
    chosen: Parser = getattr(options, "parser", parser)
    if left_over:
        chosen.refuse(left_over)
    if not hasattr(options, "run"):
        chosen.print_help(sys.stderr)
        sys.exit(2)
    from musicgen_service import settings

    settings.at_start()
    options.run(options)


def _parser(words: Sequence[str]) -> Parser:
    """The parser of all commands, with the arguments of the one that the words name."""
    # As it was called: by the name that an installation gives it, or as a module.
    program = completion.NAME if Path(sys.argv[0]).name == completion.NAME else _MODULE
    parser = Parser(prog=program, description="MusicGen as one service.")
    parser.add_argument("-V", "--version", action="version", version=f"musicgen-service {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.")
        command.set_defaults(parser=command)
        if name == chosen:
            importlib.import_module(f"{__package__}.{name}").add_arguments(command, words)
    return parser


def _sentence(error: Exception) -> str:
    """What an error says to a user; one that nobody foresaw is raised again."""
    if isinstance(error, CommandError):
        return str(error)
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}."
        return f"{error.filename}: {reason}" if error.filename else reason
    # Imported here: a command that goes well need not wait for them.
    from musicgen_service.audio import encoding, reading, recipe
    from musicgen_service.models.store import WeightsError
    from musicgen_service.requests.errors import RequestError
    from musicgen_service.settings import SettingsError

    foreseen = (
        RequestError,
        SettingsError,
        WeightsError,
        encoding.EncodingError,
        recipe.RecipeError,
        reading.AudioError,
    )
    if isinstance(error, foreseen):
        return str(error)
    raise error


def _leave(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
