"""The predictors of this project: its own, and those of `compat/` that take another system's place."""

import importlib
import sys
from typing import TYPE_CHECKING

from musicgen_service.installation import PROJECT as PROJECT

if TYPE_CHECKING:
    # Its import takes half a second, which a command that needs only names should not wait for.
    from musicgen_service.serving.cog_runner import ServiceRunner


def names() -> list[str]:
    """The systems whose place can be taken: each has a folder with a cog.yaml."""
    return sorted(path.parent.name for path in PROJECT.glob("compat/*/cog.yaml"))


def predictor(system: str | None) -> str:
    """File and class, as cog.yaml names them, of a system's predictor; of our own for None."""
    return f"compat/{system}.py:Predictor" if system else "predict.py:Predictor"


def importable(predictor: str) -> tuple[str, str]:
    """Module and class of a predictor named as in cog.yaml; the module is importable from now on, in any folder."""
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    file, _, name = predictor.partition(":")
    return file.removesuffix(".py").replace("/", "."), name


def load(system: str | None) -> "ServiceRunner":
    """A system's predictor, before its `setup`."""
    module, name = importable(predictor(system))
    runner: ServiceRunner = getattr(importlib.import_module(module), name)()
    return runner
