"""`completion`: what makes a shell complete these commands, and the answer when it asks."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from musicgen_service.cli.parser import Parser

NAME = "musicgen"
"""The short name: a shell completes by a command's first word, which must not be every `python`."""
_FUNCTIONS = {
    "bash": '{name}() {{ {command} "$@"; }}',
    "zsh": '{name}() {{ {command} "$@"; }}',
    "fish": "function {name}; {command} $argv; end",
}
_ASKED = "_ARGCOMPLETE"
"""Set by a shell that asks, to the number of words that are the command itself."""
_BREAKS = "_ARGCOMPLETE_COMP_WORDBREAKS"


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """The arguments of the command."""
    parser.description = (
        f"Print what defines `{NAME}`, short for `python -m musicgen_service`, and completes its arguments. "
        'For bash and zsh: eval "$(python -m musicgen_service completion bash)"; '
        "for fish: python -m musicgen_service completion fish | source."
    )
    parser.add_argument("shell", choices=list(_FUNCTIONS), metavar="SHELL", help=", ".join(_FUNCTIONS))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the shell's code."""
    from argcomplete.shell_integration import shellcode

    command = f"{shlex.quote(sys.executable)} -m musicgen_service"
    print(_FUNCTIONS[options.shell].format(name=NAME, command=command))
    print(shellcode([NAME], shell=options.shell))


def words_to_complete() -> list[str] | None:
    """The words that a shell asks to complete, as far as they tell which arguments there are; None when none asks."""
    if _ASKED not in os.environ:
        return None
    return os.environ.get("COMP_LINE", "").split()[int(os.environ[_ASKED]) :]


def answer(parser: Parser) -> None:
    """Tell the shell how its line may go on, and leave."""
    import argcomplete

    # To bash an @ begins a word and does not break one: without this it would be lost from `-i input_audio=@song`.
    os.environ[_BREAKS] = os.environ.get(_BREAKS, "").replace("@", "")
    argcomplete.autocomplete(parser)
