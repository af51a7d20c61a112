"""From a checkpoint folder to a model in memory, at close to the speed of reading the files."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import omegaconf
import torch
from omegaconf import DictConfig, OmegaConf

from musicgen_service import settings
from musicgen_service.engine import precision, weights
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import TokenGenerator
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.catalogue import BEAT_TRACKER, CHECKPOINTS, CODEC, DIFFUSION, SEPARATOR, T5, fetch_hint
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore

_DIFFUSION_FILE = "mbd_musicgen_32khz.th"
_REASON_LENGTH = 120


def load_model(name: str, store: WeightStore, device: torch.device) -> MusicGenModel:
    """Load a checkpoint from its folder.

    Raises
    ------
    WeightsError
        When a file is missing, damaged, or not a MusicGen checkpoint.
    SettingsError
        When `MUSICGEN_PRECISION` is not for this device.
    """
    numbers = precision.choose(device)
    folder = store.intact(name)
    with _damage_named(name):
        lm = _load_lm(folder, store, device)
        codec = adapter.fit_codec(_load_codec(folder, store, device), lm.cfg)
        return MusicGenModel(
            name=name,
            lm=lm,
            codec=codec,
            generator=_generator(lm, device, numbers),
            sample_rate=int(codec.sample_rate),
            channels=int(codec.channels),
            frame_rate=int(codec.frame_rate),
            window=int(lm.cfg.dataset.segment_duration * codec.frame_rate),
            width=int(lm.dim),
            melody_span=adapter.melody_span(lm),
            device=device,
        )


def load_diffusion(model: MusicGenModel, store: WeightStore) -> Any:
    """MultiBand Diffusion for the (mono) codec of `model`.

    Raises
    ------
    WeightsError
        When its weights are not here or damaged.
    """
    file = store.intact(DIFFUSION) / _DIFFUSION_FILE
    with _damage_named(DIFFUSION):
        with torch.serialization.safe_globals(_config_classes()):
            package = torch.load(file, map_location="cpu", weights_only=True)
        mono = getattr(model.codec, "model", None) if model.channels == 2 else model.codec
        with _without_initialisation():
            return adapter.load_diffusion(package, mono or model.codec, model.device)


def load_separator(store: WeightStore) -> Any:
    """Demucs, which takes a recording apart; raises as `load_diffusion` does."""
    folder = store.intact(SEPARATOR)
    with _damage_named(SEPARATOR):
        return adapter.load_separator(folder)


def load_beat_tracker(store: WeightStore, device: torch.device) -> adapter.BeatTracker:
    """Beat This!, which finds beats; raises as `load_diffusion` does."""
    folder = store.intact(BEAT_TRACKER)
    with _damage_named(BEAT_TRACKER), _without_initialisation():
        return adapter.load_beat_tracker(folder, device)


def memory_needed(name: str, store: WeightStore, device: torch.device) -> int:
    """Bytes that the checkpoint takes in memory, from the sizes of its files."""
    folder = store.path(name)
    # Released weights are stored in half precision and used in full precision on a CPU.
    widening = 2 if device.type == "cpu" else 1
    size = (folder / "state_dict.bin").stat().st_size * widening
    size += (folder / "compression_state_dict.bin").stat().st_size
    for part in (T5, CODEC) if CHECKPOINTS[name].hub_id else ():
        if store.has(part):
            size += sum(file.stat().st_size for file in store.path(part).glob("*model.*"))
    return size


def _load_lm(folder: Path, store: WeightStore, device: torch.device) -> Any:
    package = _read(folder / "state_dict.bin")
    config = OmegaConf.create(package["xp.cfg"])
    config.device = str(device)
    # Built as it is stored; the engine or the reference loop widens what it has to.
    stored: torch.dtype = package["best_state"]["transformer.layers.0.linear1.weight"].dtype
    config.dtype = str(stored).removeprefix("torch.")
    text_encoder = config.conditioners.description.t5
    local = folder / text_encoder.name
    text_encoder.name = str(local if local.is_dir() else store.intact(text_encoder.name.rpartition("/")[2]))
    with _without_initialisation():
        lm = adapter.build_lm(config)
    _assign(lm, package["best_state"])
    lm.cfg = config
    return lm.eval()


def _generator(lm: Any, device: torch.device, numbers: precision.Precision) -> TokenGenerator:
    """The engine; audiocraft's own loop for a network that the engine does not know, or as `MUSICGEN_ENGINE` says."""
    if settings.load().engine == "reference" or not weights.is_supported(lm):
        return ReferenceLoop(lm.float() if device.type == "cpu" else lm, adapter.attributes)
    return Engine(lm, partial(adapter.condition_tensors, lm), numbers)


def _load_codec(folder: Path, store: WeightStore, device: torch.device) -> Any:
    package = _read(folder / "compression_state_dict.bin")
    if "pretrained" in package:
        return adapter.load_hub_codec(store.intact(package["pretrained"].rpartition("/")[2])).to(device)
    config = OmegaConf.create(package["xp.cfg"])
    config.device = str(device)
    with _without_initialisation():
        codec = adapter.build_codec(config)
    _assign(codec, package["best_state"])
    return codec.eval()


def _read(file: Path) -> dict[str, Any]:
    package = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(package, dict):
        raise TypeError(f"{file.name} holds no checkpoint")
    return package


def _assign(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Give a module its weights, in the module's own precision and place.

    Every tensor is copied, once: the file may be replaced while the service runs.
    """
    own = module.state_dict()
    wrong = sorted(
        name
        for name in state.keys() | own.keys()
        if name not in state or name not in own or state[name].shape != own[name].shape
    )
    if wrong:
        raise RuntimeError(f"its tensors are not those of its configuration: {', '.join(wrong[:3])} ...")
    copies = {name: torch.empty_like(own[name]).copy_(tensor) for name, tensor in state.items()}
    module.load_state_dict(copies, assign=True)


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise, as one sentence about `name`.

    The readers of pickles, zip archives, YAML, JSON and safetensors have no error in common.
    """
    try:
        yield
    except (WeightsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["it is damaged"])[0][:_REASON_LENGTH].rstrip(".")
        raise WeightsError(f"'{name}' could not be loaded ({reason}): {fetch_hint(name)}.") from error


@contextmanager
def _without_initialisation() -> Iterator[None]:
    """Skip random initialisation: every weight is about to be replaced, and drawing them takes longer than reading."""

    def leave(tensor: torch.Tensor, *_args: Any, **_kwargs: Any) -> torch.Tensor:
        return tensor

    names = ("kaiming_uniform_", "uniform_", "normal_", "trunc_normal_")
    places = [(torch.nn.init, name) for name in names]
    places.append((torch.nn.modules.activation, "xavier_uniform_"))  # attention imports it by name
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # audiocraft uses torch's older weight_norm
        for module, name in places:
            stack.enter_context(patch.object(module, name, leave))
        yield


def _config_classes() -> list[Any]:
    """MultiBand Diffusion's file holds its configuration as objects; these classes are harmless to restore."""
    import collections
    import typing

    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    builtin: list[Any] = [dict, list, int, float, bool, str, collections.defaultdict, typing.Any]
    return [*builtin, DictConfig, omegaconf.ListConfig, ContainerMetadata, Metadata, AnyNode]
