"""Loads the same checkpoint into every implementation and precision to be compared."""

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.peers.interface import Network, Peer
from bench.peers.stepwise import Stepwise
from musicgen_service import threads
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, ConditionTensors
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.precision import Precision, supported
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.support import checkpoints

import torch

SIZES = {
    "tiny": checkpoints.TINY,
    "small": checkpoints.SMALL,
    "medium": {"dim": 1536, "num_heads": 24, "num_layers": 48},
    "large": {"dim": 2048, "num_heads": 32, "num_layers": 48},
}
TEXT = "a slow rock song with guitar and drums , 90 bpm"
NEEDS = {
    "openvino": ("openvino", "nncf"),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "fast-musicgen": ("fast-musicgen",),
}
"""Packages that a peer needs beside those for development."""
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "half": torch.float16}


@contextmanager
def random_store(size: str, device: str = "cpu") -> Iterator[WeightStore]:
    """A weights folder with a random text model of a released size, drawn on `device`; deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        shape = SIZES[size]
        codec = (4, 32) if size == "tiny" else (64, 128)
        checkpoints.build_checkpoint(Path(folder), "small", size=shape, card=2048, codec=codec, device=device)
        yield WeightStore(Path(folder))


def load(
    store: WeightStore, device: torch.device, *, checkpoint: str = "small", engine: str = "", precision: str = ""
) -> MusicGenModel:
    """Load a model with the given values of MUSICGEN_ENGINE and MUSICGEN_PRECISION."""
    with patch.dict(os.environ, MUSICGEN_ENGINE=engine, MUSICGEN_PRECISION=precision):
        return load_model(store.checkpoint(checkpoint), device)


def names(device: torch.device) -> list[str]:
    """Names of the implementations on a device; ours first, in its default precision."""
    if device.type == "cuda":
        return ["ours half", "ours exact", "audiocraft half", "transformers half", "fast-musicgen half"]
    ours = [f"ours {precision}" for precision in supported(device)]
    by_torch = ("audiocraft", "transformers", "fast-musicgen")
    torchs = [f"{peer} {dtype}" for peer in by_torch for dtype in ("float32", "bf16")]
    converted = {"openvino": ("float32", "bf16", "int8", "int4"), "onnxruntime": ("float32", "int8", "int4")}
    return [*ours, *torchs, *(f"{peer} {weights}" for peer, kinds in converted.items() for weights in kinds)]


def absence(name: str, has_cross_attention: bool) -> str | None:
    """Say why an implementation cannot take part, in a sentence; None where it can.

    Parameters
    ----------
    has_cross_attention : whether the network reads its text so, as all without melody do
    """
    peer = name.split()[0]
    missing = [package for package in NEEDS.get(peer, ()) if find_spec(package.replace("-", "_")) is None]
    if missing:
        return f"{peer} is left out, as packages are not installed: pip install {' '.join(missing)}"
    if peer == "fast-musicgen" and not has_cross_attention:
        return f"{peer} is left out, as it has no networks without cross-attention."
    return None


class Implementations:
    """The implementations of one checkpoint, loaded one by one.

    Parameters
    ----------
    store : the weights folder
    checkpoint : its name there
    device : to load to
    room : frames that a clip may have
    folder : where converted networks are kept; needed for OpenVINO and ONNX Runtime
    """

    def __init__(
        self, store: WeightStore, checkpoint: str, device: torch.device, room: int, folder: Path | None = None
    ) -> None:
        self._store = store
        self._checkpoint = checkpoint
        self._device = device
        self._room = room
        self._folder = folder

    @functools.cached_property
    def exact(self) -> MusicGenModel:
        """Our model in float32, with which the others are compared."""
        return self._load(Precision.EXACT)

    def load(self, name: str) -> Peer:
        """Load one of `names`."""
        # Here, as below: only for those that are raced.
        from bench.peers.loaded import Audiocraft, Ours

        peer, precision = name.split()
        if peer == "ours":
            return Ours(self.exact if precision == Precision.EXACT else self._load(precision), TEXT)
        if peer == "audiocraft":
            if self._device.type == "cuda" or precision == "float32":
                # On a GPU it computes in half precision by itself, under autocast.
                return Audiocraft(self._reference, TEXT)
            narrow = self._load(engine="reference")
            _lm(narrow).to(_DTYPES[precision])
            return Audiocraft(narrow, TEXT)
        pattern = DelayPattern(self.exact.config.delays, self.exact.config.decoder.card)
        if peer == "fast-musicgen":
            from bench.peers.fast_musicgen import FastMusicgen

            files = self._store.checkpoint(self._checkpoint)
            return FastMusicgen(files, self._condition, pattern, _DTYPES[precision], self._device)
        return Stepwise(self._network(peer, precision), pattern, self._device)

    def _network(self, peer: str, precision: str) -> Network:
        if peer == "transformers":
            from bench.peers.transformers import TransformersNetwork

            return TransformersNetwork(self._lm, self._condition, _DTYPES[precision])
        assert self._folder is not None
        number = threads.for_width(self._lm.dim)
        if peer == "openvino":
            from bench.peers import openvino

            file = self._folder / "openvino.xml"
            if not file.exists():
                openvino.export(self._lm, file)
            return openvino.OpenVinoNetwork(self._lm, self._condition, file, precision, number)
        from bench.peers import onnx_runtime

        file = self._folder / "onnx_runtime.onnx"
        if not file.exists():
            prefix = self._condition.prefix_length
            onnx_runtime.export(self._lm, file, prefix + self._room + self._lm.n_q)
        return onnx_runtime.OnnxRuntimeNetwork(self._lm, self._condition, file, precision, number)

    @functools.cached_property
    def _reference(self) -> MusicGenModel:
        return self._load(engine="reference")

    @property
    def _lm(self) -> Any:
        return _lm(self._reference)

    @functools.cached_property
    def _condition(self) -> ConditionTensors:
        assert isinstance(self.exact.generator, Engine)
        return self.exact.generator.to_tensors(Condition(TEXT))

    def _load(self, precision: str = "", engine: str = "") -> MusicGenModel:
        return load(self._store, self._device, checkpoint=self._checkpoint, engine=engine, precision=precision)


def _lm(model: MusicGenModel) -> Any:
    assert isinstance(model.generator, ReferenceLoop)
    return model.generator.lm
