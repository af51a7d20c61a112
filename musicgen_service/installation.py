"""Locations of project files outside the package's modules: predictors, weights, requirements.

In the repository they lie around the package, where Cog expects them. A wheel contains them inside the package
(`force-include` in pyproject.toml), so that it installs no other top-level name.
"""

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSIDE = _PACKAGE / "_project"

_IS_WHEEL = _INSIDE.is_dir()

PROJECT = _INSIDE if _IS_WHEEL else _PACKAGE.parent
"""The folder of `predict.py`, `compat/` and `weights/`."""
SHIPPED_WEIGHTS = _INSIDE / "weights" if _IS_WHEEL else None
"""Checkpoints shipped in a wheel, in addition to the weights folder; the repository has them in its weights folder."""


def weights_folder() -> Path:
    """The default weights folder: the project's in the repository, the user's data folder for an installation."""
    if not _IS_WHEEL:
        return PROJECT / "weights"
    # Imported here: not needed in the repository.
    from platformdirs import user_data_path

    return user_data_path("musicgen-service", appauthor=False) / "weights"


def results_folder() -> Path:
    """The default folder of finished predictions: in the user's folder for state."""
    from platformdirs import user_state_path

    return user_state_path("musicgen-service", appauthor=False)


def cache_folder() -> Path:
    """The folder of what need not be found out twice: in the user's folder for caches."""
    from platformdirs import user_cache_path

    return user_cache_path("musicgen-service", appauthor=False)


def install_command(package: str) -> str:
    """The command for a package of requirements-no-deps.txt, such as `pip install --no-deps audiocraft==1.3.0`."""
    return f"pip install --no-deps {package}=={pinned_version(package)}"


def pinned_version(package: str) -> str:
    """The version of a package of requirements-no-deps.txt."""
    text = (PROJECT / "requirements-no-deps.txt").read_text()
    [version] = re.findall(rf"^{package}==(\S+)", text, re.MULTILINE)
    return str(version)
