"""Import and export of adapters: folders and zip archives with the files that PEFT writes."""

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from musicgen_service.models import archives, state
from musicgen_service.models.adapters import CARD_FILE, Adapter, AdapterStore, base_name, base_of
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.lora import Lora
from musicgen_service.models.lora_options import CONFIG_FILE, WEIGHTS_FILE, LoraError, LoraOptions
from musicgen_service.models.store import WeightsError, WeightStore

_MAX_BYTES = {CONFIG_FILE: 2**20, WEIGHTS_FILE: 2 * 2**30, CARD_FILE: 2**20}
"""The files of an adapter that are taken, and bytes that each may have."""


def import_(store: WeightStore, path: Path, name: str, base: str | None, *, replace: bool = False) -> Adapter:
    """Add an adapter from a folder or zip, such as PEFT's `save_pretrained` writes.

    Parameters
    ----------
    name : that it gets
    base : the checkpoint that it was trained on, where its configuration does not name one that is known

    Raises
    ------
    WeightsError
        When it is not a LoRA for this base, is damaged, or the name is taken.
    """
    adapters = AdapterStore.of(store)
    with adapters.adding(name, source=path.name, replace=replace) as folder:
        with _files(path) as found:
            for file, content in found:
                with (folder / file).open("xb") as target:
                    _copy(content, target, file)
        try:
            known = base_of(LoraOptions.read(folder))
            if base is not None and known not in (None, base):
                raise WeightsError(f"{path.name} was trained on model '{known}', not on '{base}': leave --base out.")
            known = known or base
            if known is None:
                raise WeightsError(
                    f"{path.name} does not say which of {', '.join(CHECKPOINTS)} it was trained on: say it with --base."
                )
            lora = Lora(folder)
            if store.has(known):
                package = state.read_package(store.checkpoint(known).language_model)
                lora.check({tensor: value.shape for tensor, value in package["best_state"].items()})
        except LoraError as error:
            raise WeightsError(f"{path.name} cannot be imported: {error}.") from None
        _set_base(folder / CONFIG_FILE, base_name(known))
    return adapters.get(name)


def export(adapter: Adapter, target: Path) -> None:
    """Write an adapter as a zip, which appears when it is whole."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in _MAX_BYTES:
                if (adapter.folder / file).is_file():
                    archive.write(adapter.folder / file, f"{adapter.name}/{file}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _set_base(file: Path, base: str) -> None:
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(config | {"base_model_name_or_path": base}, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _files(path: Path) -> Iterator[Sequence[tuple[str, IO[bytes]]]]:
    """Yield the files of an adapter, open, wherever in a folder or archive they are."""
    if path.is_dir():
        named = {file.name: file for file in sorted(path.rglob("*"), reverse=True) if file.is_file()}
        opened = [(name, named[name].open("rb")) for name in _MAX_BYTES if name in named]
        try:
            yield opened
        finally:
            for _, file in opened:
                file.close()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(item.filename).name: item for item in reversed(archive.infolist())}
            yield [(name, archive.open(members[name])) for name in _MAX_BYTES if name in members]
    except Exception as error:
        if not archives.is_damage(error):
            raise
        raise WeightsError(f"{path.name} is no whole zip: give a folder or zip with {CONFIG_FILE}.") from None


def _copy(source: IO[bytes], target: IO[bytes], file: str) -> None:
    limit = _MAX_BYTES[file]
    # The size that an archive gives is not trusted.
    while block := source.read(2**20):
        target.write(block)
        if target.tell() > limit:
            raise WeightsError(f"{file} is larger than {limit >> 20} MiB, unlike any adapter.")
    target.flush()
    os.fsync(target.fileno())
