"""Checks of input files and output paths before any work is done, and delivery of finished files."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from musicgen_service import home
from musicgen_service.cli.errors import CommandError, UsageError


def readable_file(text: str, what: str = "", advice: str = "") -> Path:
    """Return the path of an existing, readable file.

    Raises
    ------
    UsageError
        When it does not exist, is not a regular file, or cannot be read; the message starts with `what` and ends
        with `advice`.
    """
    path, prefix = home.expanded(text), f"{what}: " if what else ""
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


def readable_text(text: str, what: str, advice: str = "") -> str:
    """Return the content of a file as `readable_file` finds it; raises UsageError, too, where that is not UTF-8."""
    path = readable_file(text, what, advice)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{what}: {path} is not text in UTF-8.") from None


@contextmanager
def writable_targets(targets: Sequence[Path], *, force: bool) -> Iterator[None]:
    """Create the folders of these paths and check that files can be written there; undo it if the block fails.

    Raises
    ------
    UsageError
        When a file cannot be written, or exists already and `force` does not allow overwriting it.
    """
    created: list[Path] = []
    try:
        for target in targets:
            _refuse_existing(target, force)
        for folder in dict.fromkeys(target.parent for target in targets):
            _create_folder(folder, created)
            _check_writable(folder)
        yield
    except BaseException:
        for folder in reversed(created):
            # Fails when not empty: another program uses the folder.
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """Create a folder, if necessary, and check that files can be written there; undo it if the block leaves it empty.

    Raises
    ------
    UsageError
        When it cannot be created or written to.
    """
    created: list[Path] = []
    try:
        _create_folder(folder, created)
        _check_writable(folder)
        yield
    finally:
        for path in reversed(created):
            # Fails when not empty.
            with suppress(OSError):
                path.rmdir()


def deliver(moves: Sequence[tuple[Path, Path]], *, force: bool) -> None:
    """Move files to their targets atomically, even across file systems.

    Raises
    ------
    CommandError
        When one cannot be moved; the message says where the files are kept instead.
    """
    copies: list[Path] = []
    try:
        for source, target in moves:
            copies.append(_partial_path(target.parent))
            shutil.copyfile(source, copies[-1])
        for copy, (_, target) in zip(copies, moves, strict=True):
            _publish(copy, target, force)
    except OSError as error:
        kept = _keep([source for source, _ in moves])
        raise CommandError(f"{target} could not be written: {_reason(error)}; what was made is in {kept}.") from error
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)


def _refuse_existing(target: Path, force: bool) -> None:
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


def _create_folder(folder: Path, created: list[Path]) -> None:
    """Create a folder and its parents, and append to `created` those that did not exist."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            continue  # another process has created it meanwhile
        except OSError as error:
            raise UsageError(f"The folder {path} cannot be made: {_reason(error)}.") from None
        created.append(path)
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder.")


def _check_writable(folder: Path) -> None:
    attempt = _partial_path(folder)
    try:
        attempt.touch(exist_ok=False)
        attempt.unlink()
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be written to: {_reason(error)}.") from None


def _partial_path(folder: Path) -> Path:
    return folder / f".{uuid.uuid4().hex}.partial"


def _publish(copy: Path, target: Path, force: bool) -> None:
    if force:
        copy.replace(target)
        return
    try:
        # A link, because a rename would replace a file that has appeared meanwhile.
        os.link(copy, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists") from None
        copy.rename(target)


def _keep(files: Sequence[Path]) -> Path:
    """Move files to a temporary folder that the service does not clean up."""
    folder = Path(tempfile.mkdtemp(prefix="musicgen-kept-"))
    for file in files:
        shutil.move(file, folder)
    return folder


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
