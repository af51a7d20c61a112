"""The predictors of this project: its own, and the drop-ins of `compat/` for other systems."""

import importlib
import sys
from typing import TYPE_CHECKING

from musicgen_service.installation import PROJECT as PROJECT

if TYPE_CHECKING:
    # Its import takes half a second, which commands that need only names should not wait for.
    from musicgen_service.serving.cog_runner import ServiceRunner


def names() -> list[str]:
    """The systems that have a drop-in: each has a folder with a cog.yaml."""
    return sorted(path.parent.name for path in PROJECT.glob("compat/*/cog.yaml"))


def predictor(system: str | None) -> str:
    """The file and class of a system's drop-in, in the notation of cog.yaml; None means our own predictor."""
    return f"compat/{system}.py:Predictor" if system else "predict.py:Predictor"


def importable(predictor: str) -> tuple[str, str]:
    """Module and class of a predictor in the notation of cog.yaml; adds the project to `sys.path` if necessary."""
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    file, _, name = predictor.partition(":")
    return file.removesuffix(".py").replace("/", "."), name


def hosted_as(system: str) -> str:
    """The hosted model that a drop-in takes the place of, as `owner/name`."""
    module, name = importable(predictor(system))
    return str(getattr(importlib.import_module(module), name).hosted_as)


def load(system: str | None) -> "ServiceRunner":
    """Create a system's predictor; its `setup` has not been called."""
    module, name = importable(predictor(system))
    runner: ServiceRunner = getattr(importlib.import_module(module), name)()
    return runner
