"""The folder of adapters: its contents, their verification, import, export and removal."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_service.models import manifest
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.checksums import Checksums
from musicgen_service.models.lora_options import CONFIG_FILE, WEIGHTS_FILE, LoraError, LoraOptions
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.suggestion import did_you_mean

FOLDER = "adapters"
"""Name of the folder inside the weights folder."""
CARD_FILE = "card.md"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
NAME_ALLOWED = "1 to 64 letters, digits, '-', '_' and '.', the first a letter or digit"
_DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Adapter:
    """An adapter of the folder.

    Attributes
    ----------
    base : the checkpoint that it was trained on
    rank, alpha : of its LoRA
    sha256 : of its weights, in hexadecimal
    size : of its weights, in bytes
    """

    name: str
    folder: Path
    base: str
    rank: int
    alpha: float
    sha256: str
    size: int

    @property
    def summary(self) -> dict[str, Any]:
        """What clients and commands list, in JSON types."""
        return {
            "name": self.name,
            "base": self.base,
            "rank": self.rank,
            "alpha": self.alpha,
            "bytes": self.size,
            "sha256": self.sha256,
            "licence": CHECKPOINTS[self.base].licence,
        }


class AppliedAdapter(NamedTuple):
    """An adapter and the factor of what it adds to its base."""

    adapter: Adapter
    strength: float

    @property
    def label(self) -> str:
        """By which a model with it is known, such as `mystyle:0.7 (4f0c2d9ab311)`."""
        return f"{self.adapter.name}:{self.strength:g} ({self.adapter.sha256[:_DIGEST_LENGTH]})"


class AdapterStore:
    """A folder with one sub-folder per adapter.

    A sub-folder gets its name only when it is complete.

    Parameters
    ----------
    root : the folder; it need not exist
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checksums = Checksums()

    @classmethod
    def of(cls, store: WeightStore) -> "AdapterStore":
        """The adapters in a weights folder."""
        return cls(store.root / FOLDER)

    def names(self) -> list[str]:
        """Names of what there is, damaged or not, in alphabetical order."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if NAME.fullmatch(path.name) and path.is_dir())

    def bases(self) -> dict[str, str]:
        """The base of each adapter by its name; empty for one that is damaged."""
        bases = {}
        for name in self.names():
            try:
                bases[name] = base_of(LoraOptions.read(self.root / name)) or ""
            except LoraError:
                bases[name] = ""
        return bases

    def get(self, name: str) -> Adapter:
        """Return an adapter whose files are those of its manifest, if it has one.

        Raises
        ------
        WeightsError
            When there is none of that name, or it is damaged.
        """
        if name not in self.names():
            raise WeightsError(unknown(name, self.names()))
        folder = self.root / name
        try:
            options = LoraOptions.read(folder)
            base = base_of(options)
            if base is None:
                raise LoraError(f"its base '{options.base[:80]}' is not known")
            entries = manifest.read(folder)
            digests = {file: self._checksums.of(folder / file) for file in (WEIGHTS_FILE, CONFIG_FILE)}
            for file, digest in digests.items():
                if file in entries and entries[file].sha256 != digest:
                    raise LoraError(f"the checksum of {file} differs")
            size = (folder / WEIGHTS_FILE).stat().st_size
        except (LoraError, ValueError) as error:
            raise damaged(name, str(error)) from None
        except OSError as error:
            raise damaged(name, f"{WEIGHTS_FILE}: {error.strerror}") from None
        return Adapter(name, folder, base, options.rank, options.alpha, digests[WEIGHTS_FILE], size)

    def summaries(self) -> list[dict[str, Any]]:
        """What there is, in JSON types; of a damaged one, its name and the `problem`."""
        entries = []
        for name in self.names():
            try:
                entries.append(self.get(name).summary)
            except WeightsError as error:
                entries.append({"name": name, "problem": str(error)})
        return entries

    def apply(self, named: Iterable[tuple[str, float]], base: str) -> list[AppliedAdapter]:
        """Return adapters with their strengths, without those whose strength is 0.

        Raises
        ------
        WeightsError
            When one is not there, is damaged or was trained on another checkpoint than `base`.
        """
        applied = [AppliedAdapter(self.get(name), strength) for name, strength in named]
        for adapter, _ in applied:
            if adapter.base != base:
                raise WeightsError(f"Adapter '{adapter.name}' was trained on model '{adapter.base}', not on '{base}'.")
        return [one for one in applied if one.strength]

    def remove(self, name: str) -> None:
        """Remove an adapter; raises WeightsError when there is none of that name."""
        if name not in self.names():
            raise WeightsError(unknown(name, self.names()))
        shutil.rmtree(self._set_aside(name))

    def _set_aside(self, name: str) -> Path:
        """Rename the folder of an adapter, so that what is removed in part is never listed; returns where it is."""
        gone = self.root / f".{name}.removed"
        shutil.rmtree(gone, ignore_errors=True)  # of a process that was killed here
        return (self.root / name).rename(gone)

    @contextmanager
    def adding(self, name: str, *, source: str, replace: bool = False) -> Iterator[Path]:
        """Yield an empty folder for a new adapter, which is listed when the block ends without an error.

        Parameters
        ----------
        source : where it comes from, for its manifest
        replace : whether an adapter of that name is replaced

        Raises
        ------
        WeightsError
            When the name is not allowed or taken, or another process adds an adapter of that name.
        """
        self.check_new(name, replace=replace)
        partial = self.root / f".{name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(lock, name)
            for left in partial.iterdir():  # of a process that was killed here
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield partial
            manifest.write(partial, source)
            self.check_new(name, replace=replace)
            old = self._set_aside(name) if name in self.names() else None
            partial.rename(self.root / name)
            if old is not None:
                shutil.rmtree(old)
        except BaseException as error:
            if not isinstance(error, _Locked):
                shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            os.close(lock)

    def check_new(self, name: str, *, replace: bool) -> None:
        """Raise WeightsError unless an adapter of that name may be added."""
        if not NAME.fullmatch(name):
            raise WeightsError(f"An adapter's name has {NAME_ALLOWED}, unlike '{name[:80]}'.")
        if name in self.names() and not replace:
            raise WeightsError(_taken(name))


def read_label(label: str) -> tuple[str, dict[str, str]]:
    """Read the label of a loaded model.

    Returns
    -------
    The checkpoint, and of each adapter with its strength, such as `mystyle:0.7`, the beginning of its SHA-256
    """
    checkpoint, *applied = label.split(" + ")
    return checkpoint, dict(part.removesuffix(")").split(" (", 1) for part in applied)


def base_of(options: LoraOptions) -> str | None:
    """The checkpoint that an adapter's configuration names, by our name or by its repository on the hub."""
    named = options.base.rstrip("/").lower()
    for checkpoint in CHECKPOINTS.values():
        if named in (checkpoint.name, (checkpoint.hub_id or checkpoint.name).lower()):
            return checkpoint.name
    return None


def base_name(checkpoint: str) -> str:
    """What an adapter's configuration calls a checkpoint: its repository on the hub, where it has one."""
    return CHECKPOINTS[checkpoint].hub_id or checkpoint


def unknown(name: str, known: Sequence[str]) -> str:
    """The error message for an adapter that is not there."""
    here = ", ".join(known) or "none"
    return f"There is no adapter '{name[:80]}'{did_you_mean(name, known)}: present are {here}."


def damaged(name: str, why: str) -> WeightsError:
    """The error for an adapter that cannot be used."""
    return WeightsError(f"Adapter '{name}' cannot be used ({why}): train or import it again.")


class _Locked(WeightsError):
    """Another process adds an adapter of that name."""


def _lock(folder: int, name: str) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _Locked(f"Another process adds an adapter '{name}': wait, or choose another name.") from None


def _taken(name: str) -> str:
    return f"There is an adapter '{name}' already: choose another name, or replace it with --force."
