"""Entry point: dispatches commands and turns errors into exit statuses."""

import gc
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
    "batch": "make the clips of a list of requests; goes on where it stopped",
    "export": "write the clips of a batch as a data set",
    "keys": "add, list and remove the API keys of those who may use a server",
    "train": "train an adapter on songs of your own",
    "adapters": "list, show, import, export and remove adapters",
    "weights": "list, fetch and verify checkpoints",
    "recipe": "print the command that makes a clip again",
    "analyse": "print tempo, beats, key, loudness and chords of a recording",
    "completion": "print what makes your shell complete these commands",
}
"""Each is a module of this package, imported only when it is called to keep the start fast."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with status 2 on a usage error and 1 on failure, with a one-line message for either."""
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
            # As it ends, Python would look for garbage among all objects of all libraries: a third of a second.
            gc.freeze()
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does. Python would report it once more at exit.
        devnull = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(devnull, stream.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        _exit("interrupted", 130)
    except UsageError as error:
        _exit(f"error: {error}", 2)
    except Exception as error:
        sys.exit(f"error: {_sentence(error)}")


def _run(arguments: Sequence[str]) -> None:
    words = completion.words_to_complete()
    parser = _parser(arguments if words is None else words)
    if words is not None:
        completion.complete(parser)
    options, unrecognised = parser.parse_known_args(arguments)
    chosen: Parser = getattr(options, "parser", parser)
    if unrecognised:
        chosen.refuse(unrecognised)
    if not hasattr(options, "run"):
        chosen.print_help(sys.stderr)
        sys.exit(2)
    from musicgen_service import settings

    settings.load_at_start()
    options.run(options)


def _parser(words: Sequence[str]) -> Parser:
    """The parser of all commands, with the arguments of the command named in `words`."""
    # As it was called: by the name of the installed script, or as a module.
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
    """The message of an error for the user; an unexpected error is raised again."""
    if isinstance(error, CommandError):
        return str(error)
    if isinstance(error, OSError):
        reason = f"{error.strerror or error}."
        return f"{error.filename}: {reason}" if error.filename else reason
    # Imported here: a command that succeeds does not need them.
    from musicgen_service.audio.recipe import RecipeError
    from musicgen_service.batch.errors import BatchError
    from musicgen_service.client_errors import CLIENT_SAFE_ERRORS, is_out_of_memory, to_client_error
    from musicgen_service.serving.api_keys import KeysError

    if isinstance(error, (*CLIENT_SAFE_ERRORS, KeysError, RecipeError, BatchError)):
        return str(error)
    if is_out_of_memory(error):
        return str(to_client_error(error))
    raise error


def _exit(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
