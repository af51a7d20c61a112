"""Generates all cog.yaml files from one template: `python -m deploy.cog_yaml`; a test checks that they are up to date.

Cog reads one file per predictor and has no include mechanism, so there is one file for our own predictor and one for
each drop-in, which differ only in their first and last lines.
"""

import re
import string
from pathlib import Path

from musicgen_service import predictors

_NO_DROP_INS = ("__init__", "dropin")
"""Other modules in `compat/`."""

_TEMPLATE = string.Template("""\
# $purpose
# Written by `make generate` from deploy/cog_yaml.py: change it there.
build:
  gpu: true
  # The CUDA version that torch 2.13.0 on PyPI is built for.
  cuda: "13.0"
  python_version: "3.11"
  # requirements.txt as Cog has to have it; see deploy/pins.py.
  python_requirements: requirements-image.txt
  sdk_version: "$cog"
  # Cog links only `python`, so pip is asked for as its module, and Cog's Python for CUDA 13 is marked as managed by uv,
  # which pip would respect. Both mean nothing to the python:3.11-slim image that --use-cuda-base-image=false takes.
  run:
    # Their own pins date from 2023 and no longer install; requirements-image.txt has what they need.
$no_deps
    # Cog takes the newest that its SDK allows; this is the one that is tested.
    - $pip coglet==$coglet
    # That Python lies under /root, which only root may pass through.
    - chmod a+x /root
environment:
  # Weights come by `weights fetch` alone, never while serving.
  - HF_HUB_OFFLINE=1
  # Threads that wait do not spin: on a shared core a spinning one takes the time that the others need.
  - OMP_WAIT_POLICY=passive
  - GOMP_SPINCOUNT=0
  # Threads share their memory; else the worker grows with each thread that Cog has used.
  - MALLOC_ARENA_MAX=1
  # Every clip's length is a shape that is compiled for; else 1,024 of them are kept.
  - ONEDNN_PRIMITIVE_CACHE_CAPACITY=64
  - LRU_CACHE_CAPACITY=64
run: "$predictor"
""")
_PIP = "python -m pip install --break-system-packages --no-cache-dir --no-deps"


def files() -> dict[Path, str]:
    """Generate the content of every cog.yaml, by its path from the root."""
    root = {Path("cog.yaml"): _file(None, "Cog reads this to build the container. See docs/operators.md.")}
    return root | {
        Path("compat", name, "cog.yaml"): _file(
            name,
            f"A container with the inputs of {predictors.hosted_as(name)}: "
            f"`cog build -f compat/{name}/cog.yaml`, in the root.",
        )
        for name in _drop_ins()
    }


def _drop_ins() -> list[str]:
    """The systems that have a module."""
    return sorted({path.stem for path in (predictors.PROJECT / "compat").glob("*.py")} - set(_NO_DROP_INS))


def _file(system: str | None, purpose: str) -> str:
    return _TEMPLATE.substitute(
        purpose=purpose,
        predictor=predictors.predictor(system),
        pip=_PIP,
        no_deps="\n".join(f"    - echo '{requirement}' | {_PIP} -r /dev/stdin" for requirement in _no_deps()),
        cog=_pinned("cog"),
        coglet=_pinned("coglet"),
    )


def _no_deps() -> list[str]:
    """The requirements of requirements-no-deps.txt, each on one line: Cog rejects commands of several lines."""
    text = (predictors.PROJECT / "requirements-no-deps.txt").read_text()
    joined = re.sub(r" \\\n *", " ", text)
    return [line for line in joined.splitlines() if not line.startswith("#")]


def _pinned(package: str) -> str:
    """The version of a package in requirements.txt."""
    lines = (predictors.PROJECT / "requirements.txt").read_text().splitlines()
    [version] = [line.split()[0].partition("==")[2] for line in lines if line.startswith(f"{package}==")]
    return version


def main() -> None:
    """Write all files."""
    for path, text in files().items():
        (predictors.PROJECT / path).parent.mkdir(exist_ok=True)
        (predictors.PROJECT / path).write_text(text)


if __name__ == "__main__":
    main()
