"""The reference of the command line: what `--help` prints of every command."""

import os
import re
import subprocess
import sys

from musicgen_service.predictors import PROJECT

_COLUMNS = "100"
_LISTED = re.compile(r"^commands:\n  COMMAND\n((?:    .*\n)+)", re.MULTILINE)
"""Where a help lists the commands below it."""


def commands() -> str:
    """The help of every command and sub-command, in Markdown."""
    return "\n\n".join(_sections(()))


def _sections(words: tuple[str, ...]) -> list[str]:
    """A section for a command such as `("weights",)`, and one for each command below it."""
    command = [sys.executable, "-m", "musicgen_service", *words, "--help"]
    environment = os.environ | {"COLUMNS": _COLUMNS}
    done = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    listed = _LISTED.search(done.stdout)
    below = re.findall(r"^    (\S+)", listed[1], re.MULTILINE) if listed else []
    title = " ".join(words) if words else "All commands"
    section = f"### {title}\n\n```text\n{done.stdout}```"
    return [section, *(text for name in below for text in _sections((*words, name)))]
