"""The `completion` command: prints the shell code for completion, and answers the shell's completion requests."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from musicgen_service.cli.parser import Parser

NAME = "musicgen"
"""The short command name: shells look completions up by the first word, and `python` would catch unrelated commands."""
_FUNCTIONS = {
    "bash": '{name}() {{ {command} "$@"; }}',
    "zsh": '{name}() {{ {command} "$@"; }}',
    "fish": "function {name}; {command} $argv; end",
}
_REQUEST_VARIABLE = "_ARGCOMPLETE"
"""Set by a shell that requests completions, to the number of words in the command itself."""
_WORD_BREAKS_VARIABLE = "_ARGCOMPLETE_COMP_WORDBREAKS"


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
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
    """The words typed so far, when a shell requests completions; otherwise None."""
    if _REQUEST_VARIABLE not in os.environ:
        return None
    return os.environ.get("COMP_LINE", "").split()[int(os.environ[_REQUEST_VARIABLE]) :]


def complete(parser: Parser) -> None:
    """Send the completions to the shell and exit."""
    import argcomplete

    # bash treats @ as a word break: without this it would be lost from `-i input_audio=@song`.
    os.environ[_WORD_BREAKS_VARIABLE] = os.environ.get(_WORD_BREAKS_VARIABLE, "").replace("@", "")
    argcomplete.autocomplete(parser)
