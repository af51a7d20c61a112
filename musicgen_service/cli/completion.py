"""`completion`: what makes a shell complete these commands."""

import argparse
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
