"""Loading of checkpoint folders, at close to the speed of reading the files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from musicgen_service import installation, settings
from musicgen_service.engine import low_rank, precision, weights
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import MAX_TEXT_TOKENS, TokenGenerator
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.engine.slot_memory import SlotMemory
from musicgen_service.engine.weights import Weights
from musicgen_service.models import (
    adapters,
    checkpoint_config,
    encodec_formats,
    lora,
    precision_check,
    state,
    t5_encoder,
)
from musicgen_service.models.adapters import AppliedAdapter
from musicgen_service.models.catalogue import BEAT_TRACKER, DIFFUSION, HTDEMUCS, fetch_hint
from musicgen_service.models.checkpoint_config import LanguageModelConfig
from musicgen_service.models.conditioner import PREFIX, Conditioner
from musicgen_service.models.encodec import Encodec, StereoEncodec
from musicgen_service.models.lora import Lora
from musicgen_service.models.lora_options import WEIGHTS_FILE, LoraError
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.state import Adapt
from musicgen_service.models.store import CheckpointFiles, WeightsError
from musicgen_service.models.t5_encoder import T5Encoder
from musicgen_service.models.tokenizer import TextTokenizer
from musicgen_service.progress import log

_DIFFUSION_FILE = "mbd_musicgen_32khz.th"
_MAX_REASON_LENGTH = 120
_ADAPTER_WIDENING = 4
"""Bytes in memory for each byte of an adapter's file: it is stored in half precision, a strength may need single
precision, and where a matrix is changed in part the product has rows of zeros for the others."""
_USUAL_TEXT = 128
"""Tokens of text for which slots of a GPU have room in a model whose sequences begin with the text."""


def load_model(files: CheckpointFiles, device: torch.device, slots: SlotMemory | None = None) -> MusicGenModel:
    """Load a checkpoint.

    Parameters
    ----------
    slots : limits the slots of its engine; by default they may take what is usual for a model alone on its device

    Raises
    ------
    WeightsError
        When a file is damaged or does not belong to a MusicGen checkpoint, or a part that it needs is missing.
    SettingsError
        When this device does not support `MUSICGEN_PRECISION`.
    """
    chosen = precision.choose(device)
    if chosen is None:
        chosen = _fastest(files, device, slots)
    return _load_in(chosen, files, device, slots)


def _fastest(files: CheckpointFiles, device: torch.device, slots: SlotMemory | None) -> Precision:
    """Return the fastest precision that is close enough to float32; for what runs in audiocraft, its only one."""
    with _wrap_load_errors(files.name):
        options = checkpoint_config.parse(state.read_package(files.language_model)["xp.cfg"])
    if settings.load().engine == "reference" or not checkpoint_config.is_supported(options):
        return Precision.EXACT
    try:
        return precision_check.fastest(files, device, lambda each: _load_in(each, files, device, None))
    except torch.OutOfMemoryError:
        # float32, with which all are compared, takes twice the memory of what a GPU computes in by itself.
        usual = precision.default(device)
        log(f"'{files.name}' does not fit this device in float32, so its precision is not compared: {usual}")
        return usual


def _load_in(
    chosen: Precision, files: CheckpointFiles, device: torch.device, slots: SlotMemory | None
) -> MusicGenModel:
    """Load a checkpoint in a precision; see `load_model`."""
    numerics = Numerics(chosen, device)
    with _wrap_load_errors(files.name):
        package = state.read_package(files.language_model)
        options = checkpoint_config.parse(package["xp.cfg"])
        config = LanguageModelConfig.read(options)
        text_folder = files.part(config.text_encoder)
        tokenizer = TextTokenizer(text_folder)
        codec = _load_codec(files, config, device)
        has_own = settings.load().engine == "reference" or not checkpoint_config.is_supported(options)
        text_encoder = None if has_own else t5_encoder.load(text_folder, device)
        parts = _Parts(text_folder, package, config, tokenizer, text_encoder, codec.frame_rate, numerics)
        return MusicGenModel(
            name=files.name,
            label=files.name,
            adapters={},
            config=config,
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            codec=codec,
            generator=_load_generator(parts, slots),
            device=device,
        )


def load_adapted(
    base: MusicGenModel,
    files: CheckpointFiles,
    applied: Sequence[AppliedAdapter],
    label: str,
    slots: SlotMemory | None = None,
) -> MusicGenModel:
    """Load adapters onto a checkpoint: a model that shares with it all that they do not change.

    Parameters
    ----------
    base : the loaded checkpoint
    files : its files
    applied : the adapters
    label : of the new model
    slots : see `load_model`

    Raises
    ------
    WeightsError
        When an adapter is damaged or does not fit; otherwise as `load_model`.
    """
    own = base.generator
    numerics = own.numerics if isinstance(own, Engine) else Numerics(Precision.EXACT, base.device)
    with _wrap_load_errors(files.name):
        package = state.read_package(files.language_model)
        shapes = {name: tensor.shape for name, tensor in package["best_state"].items()}
        changes = lora.changes_of([(_load_lora(use, shapes), use.strength) for use in applied])
        folder = files.part(base.config.text_encoder)
        parts = _Parts(folder, package, base.config, base.tokenizer, base.text_encoder, base.frame_rate, numerics)
        if isinstance(base.generator, Engine):
            adapted = low_rank.adapted(base.generator.weights, changes, numerics.add_product)
            generator: TokenGenerator = _engine(parts, adapted, lora.adapt_with(changes), slots)
        else:
            generator = _load_reference(parts, lora.adapt_with(changes))
        used = {adapter.name: adapter.sha256 for adapter, _ in applied}
        return replace(base, label=label, adapters=used, generator=generator)


def load_diffusion(model: MusicGenModel, folder: Path) -> Any:
    """Load MultiBand Diffusion for the (mono) codec of `model` from the component's folder.

    Raises
    ------
    WeightsError
        When its file is damaged, or audiocraft is not installed.
    """
    adapter = _import_audiocraft("MultiBand Diffusion")
    with _wrap_load_errors(DIFFUSION), _SkipInitialisation():
        return adapter.load_diffusion(folder / _DIFFUSION_FILE, model.codec.mono, model.device)


def load_separator(folder: Path) -> Any:
    """Load Demucs, a source separator, from the component's folder; raises WeightsError when it is damaged."""
    # Imported here, as below: it takes a second, and few requests need it.
    from musicgen_service.models import demucs_adapter

    with _wrap_load_errors(HTDEMUCS):
        return demucs_adapter.load_separator(folder)


def load_beat_tracker(folder: Path, device: torch.device) -> Any:
    """Load the beat tracker Beat This! from the component's folder; raises as `load_separator` does."""
    from musicgen_service.models import beat_this_adapter

    with _wrap_load_errors(BEAT_TRACKER), _SkipInitialisation():
        return beat_this_adapter.load_beat_tracker(folder, device)


def memory_needed(files: CheckpointFiles, device: torch.device) -> int:
    """Estimate the bytes that a checkpoint takes in memory from the sizes of its files."""
    parts = [file for folder in files.shared_parts.values() for file in folder.glob("*model.*")]
    shared = sum(file.stat().st_size for file in parts)
    return language_model_memory(files, device) + files.codec.stat().st_size + shared


def language_model_memory(files: CheckpointFiles, device: torch.device) -> int:
    """Estimate the bytes that the language model of a checkpoint takes in memory."""
    if device.type == "cpu" and settings.load().engine == "reference":
        weight_bytes: float = torch.float32.itemsize
    else:
        weight_bytes = Numerics(precision.choose(device) or precision.default(device), device).weight_bytes
    # Released weights are stored in half precision.
    return int(files.language_model.stat().st_size * weight_bytes / torch.float16.itemsize)


def adapted_memory(base: MusicGenModel, files: CheckpointFiles, applied: Sequence[AppliedAdapter]) -> int:
    """Estimate the bytes that a loaded checkpoint takes more with adapters."""
    if base.device.type == "cuda" or not isinstance(base.generator, Engine):
        return language_model_memory(files, base.device)
    return _ADAPTER_WIDENING * sum(adapter.size for adapter, _ in applied)


def _positions(config: LanguageModelConfig, frame_rate: int, device: torch.device) -> int:
    """Return the number of positions of a window: what precedes the frames, and the frames."""
    # On a CPU positions that are not used take no memory.
    longest_text = MAX_TEXT_TOKENS if device.type == "cpu" else _USUAL_TEXT
    melody = 0 if config.melody_span is None else config.melody_span.frames
    text = 0 if config.decoder.has_cross_attention else longest_text
    return melody + text + int(config.window * frame_rate)


@dataclass(frozen=True)
class _Parts:
    """What a generator is made of.

    Attributes
    ----------
    text_folder : of the text encoder
    package : contents of `state_dict.bin`
    text_encoder : None where audiocraft's loop is used, which loads its own
    frame_rate : of the codec, per second
    """

    text_folder: Path
    package: Mapping[str, Any]
    config: LanguageModelConfig
    tokenizer: TextTokenizer
    text_encoder: T5Encoder | None
    frame_rate: int
    numerics: Numerics


def _load_lora(use: AppliedAdapter, shapes: Mapping[str, torch.Size]) -> Lora:
    try:
        loaded = Lora(use.adapter.folder)
        # The folder may have been replaced since it was looked at.
        if loaded.sha256 != use.adapter.sha256:
            raise LoraError(f"the checksum of {WEIGHTS_FILE} differs")
        loaded.check(shapes)
    except LoraError as error:
        raise adapters.damaged(use.adapter.name, str(error)) from None
    return loaded


def _load_generator(parts: _Parts, slots: SlotMemory | None) -> TokenGenerator:
    """Load the engine, or audiocraft's loop."""
    if parts.text_encoder is None:
        return _load_reference(parts, lora.unchanged)
    stored: Mapping[str, torch.Tensor] = parts.package["best_state"]
    decoder = {name: tensor for name, tensor in stored.items() if not name.startswith(PREFIX)}
    numerics = parts.numerics
    take = state.TensorTaker(decoder, numerics.device)
    pack, pack_heads = numerics.pack_weight, numerics.pack_unquantised
    packed = weights.build(parts.config.decoder, take, pack, pack_heads, numerics.dtype)
    take.close()
    return _engine(parts, packed, lora.unchanged, slots)


def _engine(parts: _Parts, packed: Weights, adapt: Adapt, slots: SlotMemory | None) -> Engine:
    """Create an engine; `adapt` is applied to the tensors of its conditioner."""
    assert parts.text_encoder is not None
    config, numerics = parts.config, parts.numerics
    stored: Mapping[str, torch.Tensor] = parts.package["best_state"]
    conditioning = {name: adapt(name, tensor) for name, tensor in stored.items() if name.startswith(PREFIX)}
    conditioner = Conditioner(config, parts.tokenizer, parts.text_encoder, conditioning, numerics.device)
    positions = _positions(config, parts.frame_rate, parts.numerics.device)
    return Engine(packed, config.delays, conditioner.tensors, numerics, positions, slots)


def _load_reference(parts: _Parts, adapt: Adapt) -> ReferenceLoop:
    """Load audiocraft's own loop, for `MUSICGEN_ENGINE=reference` or a network that the engine does not support.

    `adapt` is applied to every tensor.
    """
    adapter, device = _import_audiocraft("The reference engine"), parts.numerics.device
    with _SkipInitialisation():
        lm = adapter.build_reference_lm(parts.package, parts.text_folder, device)
    state.fill(lm, {name: adapt(name, tensor) for name, tensor in parts.package["best_state"].items()})
    return ReferenceLoop(lm.float() if device.type == "cpu" else lm, adapter.attributes)


def _load_codec(files: CheckpointFiles, config: LanguageModelConfig, device: torch.device) -> Encodec | StereoEncodec:
    package = state.read_package(files.codec)
    if "pretrained" in package:
        codec = encodec_formats.from_folder(files.part(package["pretrained"]), device)
    else:
        options = checkpoint_config.parse(package["xp.cfg"])
        codec = encodec_formats.from_audiocraft(options, package["best_state"], device)
    if config.codec_codebooks is not None:
        codec.use_codebooks(config.codec_codebooks)
    return StereoEncodec(codec) if config.is_stereo else codec


def _import_audiocraft(what: str) -> Any:
    """Import audiocraft's adapter on demand: the import takes seconds, and audiocraft may not be installed."""
    try:
        from musicgen_service.models import audiocraft_adapter
    except ModuleNotFoundError as error:
        raise WeightsError(f"{what} needs audiocraft: run `{installation.install_command('audiocraft')}`.") from error
    return audiocraft_adapter


@contextmanager
def _wrap_load_errors(name: str) -> Iterator[None]:
    """Turn any error of reading a damaged file into a `WeightsError` about `name`.

    The readers of pickles, zip archives, YAML, JSON and safetensors have no common error class.
    """
    try:
        yield
    except (WeightsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["it is damaged"])[0][:_MAX_REASON_LENGTH].rstrip(".")
        raise WeightsError(f"'{name}' could not be loaded ({reason}): {fetch_hint(name)}.") from error


class _SkipInitialisation(TorchFunctionMode):
    """Leaves new weights uninitialised in this thread while the mode is active.

    Every weight is about to be replaced, and random initialisation takes longer than reading them.
    """

    # A mode sees some functions of `torch.nn.init` themselves, and of the others the functions that they call.
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
