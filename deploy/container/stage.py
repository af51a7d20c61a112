"""Writes what a build needs besides the source: `python -m deploy.container.stage FOLDER`.

| written | what |
|---|---|
| Dockerfile | as Cog would write it for cog.yaml |
| cog_build/ | the files that Cog passes to the build: requirements and schema |
| mounts | options that mount this machine's pip settings into the build, not into the image |
"""

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from deploy import pins
from musicgen_service import predictors
from musicgen_service.serving import schema

_PIP_CONFIG = "/etc/pip.conf"
_UV_CONFIG = "/etc/uv/uv.toml"


def dockerfile(config: dict[str, Any]) -> str:
    """Generate the Dockerfile, as `GenerateInitialSteps` and later steps in Cog's standard_generator.go (0.22) do.

    Parameters
    ----------
    config : a cog.yaml
    """
    build = config["build"]
    environment = " ".join(sorted(config["environment"]))
    flags = 'ENV CFLAGS="-O3 -funroll-loops -fno-strict-aliasing -flto -S"'
    steps = [
        "#syntax=docker/dockerfile:1.4",
        "# Cog's published base of this CUDA and this Python; base.sh lays out what stands in for it.",
        "FROM cog-base",
        "# `environment`: from the first step on.",
        f"ENV {environment}",
        "# uv, from its publisher's image; it is to use the one Python that there is.",
        "COPY --from=uv /uv /uvx /usr/local/bin/",
        "ENV UV_SYSTEM_PYTHON=true",
        "# From CUDA 13 on the base's Python is uv's, and called python3 alone.",
        "RUN ln -sf /usr/bin/python3 /usr/local/bin/python",
        "# `python_requirements`, in pip's own resolution; the flags are for packages that are compiled.",
        "COPY --from=cog_build requirements.txt /tmp/requirements.txt",
        flags,
        "RUN --mount=type=cache,target=/root/.cache/pip uv run pip install --break-system-packages "
        "--cache-dir /root/.cache/pip -r /tmp/requirements.txt",
        "ENV CFLAGS=",
        "# `sdk_version`: after the requirements, so that another one does not install those again.",
        flags,
        "RUN --mount=type=cache,target=/root/.cache/uv uv pip install --break-system-packages --no-cache "
        f"cog=={build['sdk_version']}",
        "ENV CFLAGS=",
        "# `run`: before the source is there.",
        *(f"RUN {command}" for command in build["run"]),
        "# The server that answers, and where the predictor is.",
        "WORKDIR /src",
        "EXPOSE 5000",
        f'ENV COG_PREDICT_TYPE_STUB="{config["run"]}"',
        "# `@concurrent` of the predictor.",
        f"ENV COG_MAX_CONCURRENCY={_max_concurrency(config['run'])}",
        'CMD ["python", "-m", "cog.server.http"]',
        "# The source, less what .dockerignore names.",
        "COPY . /src",
        "# The schema, made by Cog beforehand, in a second build that also adds labels.",
        "COPY --from=cog_build openapi_schema.json /src/.cog/",
    ]
    return "\n".join(steps) + "\n"


def _max_concurrency(predictor: str) -> int:
    module, name = predictors.importable(predictor)
    return int(getattr(importlib.import_module(module), name).run.__cog_concurrent_max__)


def requirements() -> str:
    """`requirements-image.txt` with torch for CPUs, and without the packages for CUDA."""
    read = pins.read(Path("requirements.txt").read_text())
    for_cpus = [replace(pin, hashes=pins.TORCH_FOR_CPUS[pin.version]) if pin.name == "torch" else pin for pin in read]
    return pins.render_for_cog(for_cpus, [])


def pip_mounts(folder: Path) -> list[str]:
    """Options that mount this machine's pip settings, and files they refer to, into each step of a build.

    Parameters
    ----------
    folder : destination of the generated settings files
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    settings = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.M))
    # Local package folders only save downloads.
    settings = {name: value for name, value in settings.items() if "file://" not in value}
    pip, uv = folder / "pip.conf", folder / "uv.toml"
    pip.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items())]) + "\n")
    uv.write_text("native-tls = true\n")
    if index := settings.get("index-url"):
        uv.write_text(uv.read_text() + f'[[index]]\nurl = "{index}"\ndefault = true\n')
    paths = {(str(pip), _PIP_CONFIG), (str(uv), _UV_CONFIG)}
    paths |= {(word, word) for value in settings.values() for word in value.split() if Path(word).is_absolute()}
    # The certificate authorities that this machine trusts, where Debian stores them.
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    paths |= {(path, path) for path in [certificates] if Path(path).is_file()}
    return [f"--volume={here}:{there}:ro" for here, there in sorted(paths) if Path(here).exists()]


def main() -> None:
    """Write all files."""
    folder = Path(sys.argv[1])
    config = yaml.safe_load(Path("cog.yaml").read_text())
    (folder / "Dockerfile").write_text(dockerfile(config))
    staged = folder / "cog_build"
    staged.mkdir()
    (staged / "requirements.txt").write_text(requirements())
    schema.write(folder, config["run"]).rename(staged / "openapi_schema.json")
    (folder / "mounts").write_text("\n".join(pip_mounts(folder)) + "\n")


if __name__ == "__main__":
    main()
