"""The `export` command: writes the clips of a batch as a data set."""

import argparse
from collections.abc import Sequence

from musicgen_service import home
from musicgen_service.cli.errors import UsageError
from musicgen_service.cli.parser import Parser

_LAYOUTS = {
    "webdataset": "tar files, which the library webdataset reads",
    "hf": "a folder of clips with metadata.jsonl, which Hugging Face's library datasets reads",
}


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", metavar="FOLDER", help="where `batch` has put its clips")
    layouts = parser.add_mutually_exclusive_group(required=True)
    for name, summary in _LAYOUTS.items():
        layouts.add_argument(f"--{name}", dest="layout", action="store_const", const=name, help=summary)
    parser.add_argument("-o", "--output", metavar="NEW", help="the new folder (default: FOLDER-webdataset, FOLDER-hf)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the data set; its folder must not exist yet."""
    from musicgen_service.batch import export

    folder = home.expanded(options.folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    path = home.expanded(options.output) if options.output else folder.resolve()
    target = path if options.output else path.with_name(f"{path.name}-{options.layout}")
    if target.exists():
        raise UsageError(f"{target} exists already: choose another name with -o.")
    write = export.write_webdataset if options.layout == "webdataset" else export.write_audio_folder
    count = write(folder, target)
    print(f"{target}  {count} clip{'s' if count > 1 else ''}")
