"""The `recipe` command: prints the command that makes a clip again."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_service.cli.files import readable_file
from musicgen_service.cli.parser import Parser


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", metavar="FILE", help="a clip that this service has made, or the manifest of a batch")
    parser.add_argument("clip", nargs="?", metavar="CLIP", help="of a manifest: the clip's file, or its line's id")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the command; its output is a new file beside the clip."""
    from musicgen_service.audio import recipe

    file = readable_file(options.file)
    file, contents = _in_manifest(file, options.clip) if options.clip else (file, recipe.read(file))
    print(recipe.command(contents, _python(), _unused(file, contents["output_format"])))
    for name, digest in recipe.files(contents).items():
        print(f"{name} is the file with SHA-256 {digest}", file=sys.stderr)
    if separator := contents.get(recipe.SEPARATOR):
        print(f"the vocals were separated with MUSICGEN_SEPARATOR={separator}", file=sys.stderr)


def _in_manifest(path: Path, clip: str) -> tuple[Path, dict[str, Any]]:
    """The path of a clip, which may be gone, and its recipe."""
    from musicgen_service.batch import recipes

    name, contents = recipes.find(path, clip)
    return path.parent / name, contents


def _python() -> str:
    """The shell command for this interpreter."""
    return "python" if shutil.which("python") == sys.executable else sys.executable


def _unused(file: Path, extension: str) -> Path:
    """An unused name for another take of a file."""
    number = 1
    while (path := file.with_name(f"{file.stem}-again{'' if number == 1 else number}.{extension}")).exists():
        number += 1
    return path
