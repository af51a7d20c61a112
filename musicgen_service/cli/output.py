"""The `-o` option: a file, numbered files, files in a folder, or standard output."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from musicgen_service.cli.errors import UsageError

STANDARD_OUTPUT = "-"
_FOLDERS = ("", ".", "..")
"""Last parts of a path that can only mean a folder."""


@dataclass(frozen=True)
class Output:
    """Destination of the clips of one command.

    Attributes
    ----------
    folder : folder of the files
    name : file name with an extension, numbered when there are several clips; None for the service's own names
    standard : whether the only clip goes to standard output instead
    """

    folder: Path = Path()
    name: str | None = None
    standard: bool = False

    @classmethod
    def parse(cls, text: str | None, formats: Sequence[str]) -> "Output":
        """Parse the argument of `-o`; None means that the option is absent.

        Raises
        ------
        UsageError
            When it names a file whose extension is none of the formats.
        """
        if text is None:
            return cls()
        if text == STANDARD_OUTPUT:
            return cls(standard=True)
        if not text:
            raise UsageError("-o is empty: name a file, a folder, or - for standard output.")
        path = Path(text).expanduser()
        if text.rpartition("/")[2] in _FOLDERS or path.is_dir():
            return cls(path)
        extension = path.suffix[1:]
        if extension.lower() not in formats:
            allowed = f"end the name in {_either(f'.{name}' for name in formats)}, or in / for a folder"
            raise UsageError(
                f"-o {text} has {f'the extension .{extension}' if extension else 'no extension'}: {allowed}."
            )
        return cls(path.parent, path.name)

    @property
    def format(self) -> str | None:
        """The audio format that the name implies."""
        return Path(self.name).suffix[1:].lower() if self.name else None

    def targets(self, names: Sequence[str]) -> list[Path]:
        """The paths of files, given the service's names for them, which end in their labels and extensions.

        Raises
        ------
        UsageError
            When several are to go to standard output.
        """
        if self.standard and len(names) > 1:
            raise UsageError(f"-o - takes one file, and there may be {len(names)}: name a folder.")
        if self.name is None:
            return [self.folder / name for name in names]
        path = Path(self.name)
        labels = [Path(name).stem.rpartition("-")[2] for name in names]
        stems = [f"{path.stem}-{label}" if len(set(labels)) > 1 else path.stem for label in labels]
        # The extension as it was typed, except for files of another kind.
        suffixes = [Path(name).suffix for name in names]
        return [
            self.folder / f"{stem}{path.suffix if suffix == suffixes[0] else suffix}"
            for stem, suffix in zip(stems, suffixes, strict=True)
        ]


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
