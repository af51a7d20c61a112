"""The command-line reference: the `--help` output of every command."""

import os
import re
import subprocess
import sys

from musicgen_service.predictors import PROJECT

_COLUMNS = "100"
_LISTED = re.compile(r"^commands:\n  COMMAND\n((?:    .*\n)+)", re.MULTILINE)
"""Matches the list of sub-commands in a help text."""


def commands() -> str:
    """Format the help of every command and sub-command as Markdown."""
    return "\n\n".join(_sections(()))


def _sections(words: tuple[str, ...]) -> list[str]:
    """Sections for a command, such as `("weights",)`, and for each of its sub-commands."""
    command = [sys.executable, "-m", "musicgen_service", *words, "--help"]
    environment = os.environ | {"COLUMNS": _COLUMNS}
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    listed = _LISTED.search(done.stdout)
    subcommands = re.findall(r"^    (\S+)", listed[1], re.MULTILINE) if listed else []
    title = " ".join(words) if words else "All commands"
    section = f"### {title}\n\n```text\n{done.stdout}```"
    return [section, *(text for name in subcommands for text in _sections((*words, name)))]
