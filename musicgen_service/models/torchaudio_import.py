"""Makes torchaudio importable with a CPU-only torch.

The wheel's native library links CUDA and fails to load there; the spectrograms of beat_this and audiocraft are pure
Python. Importing this module first adds a small stub of that library to `sys.modules`.
"""

import importlib.machinery
import sys
import types
from typing import Any

_EXTENSION = "torchaudio._extension"


def _install() -> None:
    if "torchaudio" in sys.modules:
        return
    module: Any = types.ModuleType(_EXTENSION)
    module.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, loader=None)
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module.fail_if_no_align = lambda function: function
    sys.modules[_EXTENSION] = module


_install()
