"""Files that a command reads, and places where it writes: looked at before any work is done."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from musicgen_service.cli.errors import CommandError, UsageError


def existing(text: str, what: str = "", advice: str = "") -> Path:
    """The path of a file that can be read.

    Raises
    ------
    UsageError
        When it is not there, is no file, or may not be read; the sentence starts with `what` and ends with `advice`.
    """
    path, prefix = Path(text).expanduser(), f"{what}: " if what else ""
    try:
        if path.is_dir():
            raise UsageError(f"{prefix}{path} is a folder, not a file{advice}.")
        if path.exists() and not path.is_file():
            raise UsageError(f"{prefix}{path} is not a regular file{advice}.")
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise UsageError(f"{prefix}{'there' if what else 'There'} is no file {path}{advice}.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{prefix}{path} cannot be read: {_reason(error)}{advice}.") from None


@contextmanager
def prepared(targets: Sequence[Path], *, force: bool) -> Iterator[None]:
    """Makes sure that files can be put at these paths, by trying; what the attempt leaves goes when the block fails.

    Raises
    ------
    UsageError
        When they cannot, or when there are such files already and `force` does not allow to overwrite them.
    """
    made: list[Path] = []
    try:
        for target in targets:
            _refuse_taken(target, force)
        for folder in dict.fromkeys(target.parent for target in targets):
            _make_folder(folder, made)
            _try_to_write(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            # Not empty: somebody else has use for it now.
            with suppress(OSError):
                folder.rmdir()
        raise


def deliver(moves: Sequence[tuple[Path, Path]], *, force: bool) -> None:
    """Move files to their targets; each appears whole or not at all, also across file systems.

    Raises
    ------
    CommandError
        When one cannot be put in its place; it says where the files are kept instead.
    """
    copies: list[Path] = []
    try:
        for source, target in moves:
            copies.append(_hidden(target.parent))
            shutil.copyfile(source, copies[-1])
        for copy, (_, target) in zip(copies, moves, strict=True):
            _publish(copy, target, force)
    except OSError as error:
        kept = _keep([source for source, _ in moves])
        raise CommandError(f"{target} could not be written: {_reason(error)}; what was made is in {kept}.") from error
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)


def _refuse_taken(target: Path, force: bool) -> None:
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {_reason(error)}.") from None
    if target.is_dir():
        raise UsageError(f"{target} is a folder: choose another name.")
    if not force:
        raise UsageError(f"{target} exists already: choose another name, or overwrite it with --force.")


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder with all that leads to it, and note in `made` what was not there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            continue  # made by somebody else meanwhile
        except OSError as error:
            raise UsageError(f"The folder {path} cannot be made: {_reason(error)}.") from None
        made.append(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder.")


def _try_to_write(folder: Path) -> None:
    attempt = _hidden(folder)
    try:
        attempt.touch(exist_ok=False)
        attempt.unlink()
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be written to: {_reason(error)}.") from None


def _hidden(folder: Path) -> Path:
    return folder / f".{uuid.uuid4().hex}.partial"


def _publish(copy: Path, target: Path, force: bool) -> None:
    if force:
        copy.replace(target)
        return
    try:
        # Unlike a rename this replaces nothing that has appeared meanwhile.
        os.link(copy, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists") from None
        copy.rename(target)


def _keep(files: Sequence[Path]) -> Path:
    """Put files where nobody removes them before the system does."""
    folder = Path(tempfile.mkdtemp(prefix="musicgen-kept-"))
    for file in files:
        shutil.move(file, folder)
    return folder


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
