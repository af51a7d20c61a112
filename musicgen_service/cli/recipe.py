"""`recipe`: print the command that makes a clip again."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from musicgen_service.cli.files import existing
from musicgen_service.cli.parser import Parser


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """The arguments of the command."""
    parser.add_argument("file", metavar="FILE", help="a clip that this service has made")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the command; it writes beside the clip and not over it."""
    from musicgen_service.audio import recipe

    file = existing(options.file)
    found = recipe.read(file)
    print(recipe.command(found, _python(), _unused(file, found["output_format"])))
    if found.get("input_audio"):
        print(f"input_audio is the file with SHA-256 {found['input_audio_sha256']}", file=sys.stderr)


def _python() -> str:
    """What starts this interpreter in a shell."""
    return "python" if shutil.which("python") == sys.executable else sys.executable


def _unused(file: Path, extension: str) -> Path:
    """A name for another take of a file that no file has."""
    number = 1
    while (path := file.with_name(f"{file.stem}-again{'' if number == 1 else number}.{extension}")).exists():
        number += 1
    return path
