"""Makes audiocraft 1.3.0 importable with current torch: stubs packages that its inference never calls.

audiocraft pins 2023 versions that no longer install, and imports all of its training code to run a
model. Importing this module first adds small stub modules to `sys.modules` for missing packages;
installed packages are not replaced. Only `audiocraft_adapter` imports it.
"""

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

import torch

import musicgen_service.models.torchaudio_import  # noqa: F401


def _is_available(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _add_stub(name: str, **attributes: Any) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    vars(module).update(attributes)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def _unavailable(name: str) -> Callable[..., NoReturn]:
    def call(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError(f"{name} is not part of this installation")

    return call


class _LowerTriangularMask:
    """audiocraft only checks whether a mask is present, never its contents."""


class _NoProfiler:
    _CURRENT_PROFILER = None


class _CompressionSolver:
    """MultiBand Diffusion refers to this class on import; the adapter loads codecs itself."""


def _install() -> None:
    if not _is_available("xformers"):
        _add_stub("xformers")
        _add_stub(
            "xformers.ops",
            unbind=torch.unbind,
            LowerTriangularMask=_LowerTriangularMask,
            memory_efficient_attention=_unavailable("xformers"),
        )
        # Looked up on every self-attention call, where a failing import would cost more than the attention itself.
        _add_stub("xformers.profiler", profiler=types.SimpleNamespace(_Profiler=_NoProfiler))
    if not _is_available("spacy"):
        _add_stub("spacy", load=_unavailable("spacy"))
    if not _is_available("num2words"):
        _add_stub("num2words", num2words=str)
    if not _is_available("av"):
        _add_stub("av", open=_unavailable("av"))
    if not _is_available("flashy"):
        _add_stub("flashy")
        _add_stub(
            "flashy.distrib",
            rank=lambda: 0,
            world_size=lambda: 1,
            is_rank_zero=lambda: True,
            is_distributed=lambda: False,
            broadcast_tensors=lambda *_args, **_kwargs: None,
        )
    # This one import in MultiBand Diffusion would pull in every solver, and with them the training code.
    _add_stub("audiocraft.solvers")
    _add_stub("audiocraft.solvers.compression", CompressionSolver=_CompressionSolver)


_install()
