"""The `-o` option: a file, numbered files, files in a folder, or standard output."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from musicgen_service import home
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
        path = home.expanded(text)
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

    def target(self, name: str, label: str) -> Path:
        """The path of a file.

        Parameters
        ----------
        name : the service's own
        label : what tells it from the others of its request; empty for the only one
        """
        if self.name is None:
            return self.folder / name
        typed = Path(self.name)
        # The extension as it was typed, except for files of another kind.
        suffix = typed.suffix if name.endswith(typed.suffix.lower()) else Path(name).suffix
        return self.folder / f"{typed.stem}{'-' if label else ''}{label}{suffix}"


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
