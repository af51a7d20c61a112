"""Lets audiocraft 1.3.0 import beside current torch: stands in for packages its inference never calls.

audiocraft pins 2023 versions that no longer install, and imports all of its training code to run a
model. Importing this module first puts small stand-ins into `sys.modules` for what is missing; a
package that is installed is left alone. Only `audiocraft_adapter` imports it.
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


def _stand_in(name: str, **attributes: Any) -> None:
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
    """audiocraft only asks whether a mask is present, never what is in it."""


class _NoProfiler:
    _CURRENT_PROFILER = None


class _CompressionSolver:
    """MultiBand Diffusion names this class at import; the adapter loads codecs itself."""


def _install() -> None:
    if not _is_available("xformers"):
        _stand_in("xformers")
        _stand_in(
            "xformers.ops",
            unbind=torch.unbind,
            LowerTriangularMask=_LowerTriangularMask,
            memory_efficient_attention=_unavailable("xformers"),
        )
        # Looked up on every self-attention call: a failing import there would cost more than the attention.
        _stand_in("xformers.profiler", profiler=types.SimpleNamespace(_Profiler=_NoProfiler))
    if not _is_available("spacy"):
        _stand_in("spacy", load=_unavailable("spacy"))
    if not _is_available("num2words"):
        _stand_in("num2words", num2words=str)
    if not _is_available("av"):
        _stand_in("av", open=_unavailable("av"))
    if not _is_available("flashy"):
        _stand_in("flashy")
        _stand_in(
            "flashy.distrib",
            rank=lambda: 0,
            world_size=lambda: 1,
            is_rank_zero=lambda: True,
            is_distributed=lambda: False,
            broadcast_tensors=lambda *_args, **_kwargs: None,
        )
    # Every solver, and with them the training stack, hangs on this one import of MultiBand Diffusion.
    _stand_in("audiocraft.solvers")
    _stand_in("audiocraft.solvers.compression", CompressionSolver=_CompressionSolver)


_install()
