"""From a checkpoint folder to a model in memory, at close to the speed of reading the files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import omegaconf
import torch
from omegaconf import DictConfig, OmegaConf
from torch.overrides import TorchFunctionMode

from musicgen_service import settings
from musicgen_service.engine import precision, weights
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import TokenGenerator
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.catalogue import BEAT_TRACKER, DIFFUSION, SEPARATOR, fetch_hint
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import CheckpointFiles, WeightsError

_DIFFUSION_FILE = "mbd_musicgen_32khz.th"
_REASON_LENGTH = 120


def load_model(files: CheckpointFiles, device: torch.device) -> MusicGenModel:
    """Load a checkpoint.

    Raises
    ------
    WeightsError
        When a file is damaged or not of a MusicGen checkpoint, or a part that it needs is not here.
    SettingsError
        When `MUSICGEN_PRECISION` is not for this device.
    """
    numbers = precision.choose(device)
    with _damage_named(files.name):
        lm = _load_lm(files, device)
        codec = adapter.fit_codec(_load_codec(files, device), lm.cfg)
        return MusicGenModel(
            name=files.name,
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


def load_diffusion(model: MusicGenModel, folder: Path) -> Any:
    """MultiBand Diffusion for the (mono) codec of `model`, from the component's folder.

    Raises
    ------
    WeightsError
        When its file is damaged.
    """
    with _damage_named(DIFFUSION):
        with torch.serialization.safe_globals(_config_classes()):
            package = torch.load(folder / _DIFFUSION_FILE, map_location="cpu", weights_only=True)
        mono = getattr(model.codec, "model", None) if model.channels == 2 else model.codec
        with _SkipInitialisation():
            return adapter.load_diffusion(package, mono or model.codec, model.device)


def load_separator(folder: Path) -> Any:
    """Demucs, which takes a recording apart, from the component's folder; raises as `load_diffusion` does."""
    with _damage_named(SEPARATOR):
        return adapter.load_separator(folder)


def load_beat_tracker(folder: Path, device: torch.device) -> Any:
    """Beat This!, which finds beats, from the component's folder; raises as `load_diffusion` does."""
    with _damage_named(BEAT_TRACKER), _SkipInitialisation():
        return adapter.load_beat_tracker(folder, device)


def memory_needed(files: CheckpointFiles, device: torch.device) -> int:
    """Bytes that the checkpoint takes in memory, from the sizes of its files."""
    # Released weights are stored in half precision and used in full precision on a CPU.
    widening = 2 if device.type == "cpu" else 1
    size = files.language_model.stat().st_size * widening + files.codec.stat().st_size
    parts = [file for folder in files.shared_parts.values() for file in folder.glob("*model.*")]
    return size + sum(file.stat().st_size for file in parts)


def _load_lm(files: CheckpointFiles, device: torch.device) -> Any:
    package = _read(files.language_model)
    config = OmegaConf.create(package["xp.cfg"])
    config.device = str(device)
    # Built as it is stored; the engine or the reference loop widens what it has to.
    stored: torch.dtype = package["best_state"]["transformer.layers.0.linear1.weight"].dtype
    config.dtype = str(stored).removeprefix("torch.")
    text_encoder = config.conditioners.description.t5
    text_encoder.name = str(files.part(text_encoder.name))
    with _SkipInitialisation():
        lm = adapter.build_lm(config)
    _assign(lm, package["best_state"])
    lm.cfg = config
    return lm.eval()


def _generator(lm: Any, device: torch.device, numbers: precision.Precision) -> TokenGenerator:
    """The engine; audiocraft's own loop for a network that the engine does not know, or as `MUSICGEN_ENGINE` says."""
    if settings.load().engine == "reference" or not weights.is_supported(lm):
        return ReferenceLoop(lm.float() if device.type == "cpu" else lm, adapter.attributes)
    return Engine(lm, partial(adapter.condition_tensors, lm), numbers)


def _load_codec(files: CheckpointFiles, device: torch.device) -> Any:
    package = _read(files.codec)
    if "pretrained" in package:
        return adapter.load_hub_codec(files.part(package["pretrained"])).to(device)
    config = OmegaConf.create(package["xp.cfg"])
    config.device = str(device)
    with _SkipInitialisation():
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


class _SkipInitialisation(TorchFunctionMode):
    """Leaves new weights as they lie in memory, in this thread, while it is entered.

    Every weight is about to be replaced, and drawing them at random takes longer than reading them.
    """

    # torch offers a mode some functions of `torch.nn.init` whole; of the others it sees what they call.
    _SKIPPED = frozenset(
        {
            torch.nn.init.uniform_,
            torch.nn.init.normal_,
            torch.nn.init.kaiming_uniform_,
            torch.Tensor.uniform_,
            torch.Tensor.normal_,
        }
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in self._SKIPPED:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _config_classes() -> list[Any]:
    """MultiBand Diffusion's file holds its configuration as objects; these classes are harmless to restore."""
    import collections
    import typing

    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    builtin: list[Any] = [dict, list, int, float, bool, str, collections.defaultdict, typing.Any]
    return [*builtin, DictConfig, omegaconf.ListConfig, ContainerMetadata, Metadata, AnyNode]
