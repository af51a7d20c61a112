"""Resolves the dependencies in pyproject.toml to pinned requirements files: `python -m deploy.pins`.

| written | from | installed by |
|---|---|---|
| requirements.txt | `dependencies` | `make install`, whatever the Python (3.11 to 3.13) and torch's build |
| requirements-cuda.txt | the same | `make install`, beside a torch built for CUDA |
| requirements-image.txt | the two above | Cog: Python 3.11 on Linux, with CUDA |
| requirements-train.txt | the extra `train` | `make install-train`, on top of requirements.txt |
| requirements-dev.txt | the extra `dev` | `make test` and the like, on top of the two |
| requirements-ray.txt | the extra `ray` | `make install-ray`, on top of requirements.txt |

requirements-no-deps.txt is written by hand, for packages whose own pins are too old to be resolved with the rest.

Each file is complete, so pip installs it with `--no-deps`, and contains the hashes of every package. `make install`
does not check torch's hash: it installs torch first, by version, because pip would prefer a build with a hash from an
index to one in a local folder.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.markers import Marker

PYTHONS = ("3.11", "3.12", "3.13")
_PLATFORMS = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
CUDA = re.compile(r"(cuda|nvidia)-.+|triton")
"""Packages needed only by torch for CUDA. No marker distinguishes its builds, so these have their own file."""
_BY_COG = ("cog", "coglet")
"""Cog installs these itself, and warns about a file that contains them."""

TORCH_FOR_CPUS = {
    "2.13.0": (
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # CPython 3.11, x86_64
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # CPython 3.12, x86_64
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # CPython 3.13, x86_64
        "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",  # CPython 3.11, aarch64
        "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",  # CPython 3.12, aarch64
        "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",  # CPython 3.13, aarch64
    )
}
"""SHA-256 of torch's CPU-only Linux builds (`+cpu`), by version.

They are not published on PyPI, which has the builds for CUDA, so no resolver that queries PyPI finds them.
"""


@dataclass(frozen=True)
class Pin:
    """One package at one version.

    Attributes
    ----------
    name, version : as in `name==version`
    marker : environments that need it (PEP 508); empty for all supported ones
    hashes : SHA-256 of each of its files, in hexadecimal
    via : packages that depend on it
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    via: tuple[str, ...]

    @property
    def is_direct(self) -> bool:
        """Whether pyproject.toml asks for it."""
        return any("pyproject.toml" in package for package in self.via)

    def holds(self, environment: dict[str, str]) -> bool:
        """Whether it is needed in an environment, given as values of PEP 508 markers."""
        return not self.marker or Marker(self.marker).evaluate(environment)


def environments() -> Iterator[dict[str, str]]:
    """Yield the values of PEP 508 markers for each supported Python and platform."""
    for python in PYTHONS:
        for platform, system, machine in _PLATFORMS:
            yield {
                "python_version": python,
                "python_full_version": f"{python}.0",
                "sys_platform": platform,
                "platform_system": system,
                "platform_machine": machine,
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "os_name": "posix",
                "extra": "",
            }


def read(text: str) -> list[Pin]:
    """Parse the pins in a file written by `render`, `render_for_cog` or uv."""
    joined = re.sub(r"\\\n\s*", "", text)
    # The dependents of a package follow it in a comment of one or more lines.
    entry = re.compile(r"^([\w.-]+) ?== ?([^\s;]+)(?: ; (.*?))? *((?:--hash=\S+ *)*)\n((?:    #.*\n)*)", re.M)
    return [
        Pin(
            name,
            version,
            marker.strip(),
            tuple(re.findall(r"--hash=sha256:(\w+)", hashes)),
            tuple(filter(None, (needed.strip().removeprefix("via").strip() for needed in re.split("[#,\n]", via)))),
        )
        for name, version, marker, hashes, via in entry.findall(joined + "\n")
    ]


def for_supported_platforms(pins: Iterable[Pin]) -> list[Pin]:
    """Remove pins for unsupported platforms, and markers that always hold."""
    kept = []
    for pin in pins:
        holding = [pin.holds(environment) for environment in environments()]
        if any(holding):
            kept.append(replace(pin, marker="" if all(holding) else pin.marker))
    return kept


def render(head: str, pins: Iterable[Pin]) -> str:
    """Format a requirements file for pip."""
    return _render(head, pins, "==")


def render_for_cog(requirements: Iterable[Pin], cuda: Iterable[Pin]) -> str:
    """Format the requirements file that Cog installs: one platform, no markers, no packages that Cog installs itself.

    Cog reduces a line `name==version ...` to name and version, without marker and hashes (`pythonPackageForArch` in its
    pkg/config/config.go); it passes a line with spaces around `==` to pip unchanged.
    """
    environment = next(environments())
    pins = [pin for pin in (*requirements, *cuda) if pin.holds(environment) and pin.name not in _BY_COG]
    pins = [replace(pin, marker="") for pin in sorted(pins, key=lambda pin: pin.name)]
    return _render("requirements.txt and requirements-cuda.txt in the form that Cog leaves as it is.", pins, " == ")


def _render(head: str, pins: Iterable[Pin], equals: str) -> str:
    lines = [f"# {head}", "# Written by `make pins` (deploy/pins.py) from pyproject.toml: change that."]
    for pin in pins:
        lines.append(f"{pin.name}{equals}{pin.version}{f' ; {pin.marker}' * bool(pin.marker)} \\")
        lines += [f"    --hash=sha256:{digest} \\" for digest in pin.hashes[:-1]]
        lines.append(f"    --hash=sha256:{pin.hashes[-1]}")
        if pin.via:
            lines.append(f"    # via {', '.join(pin.via)}")
    return "\n".join(lines) + "\n"


def _resolve(*options: str) -> list[Pin]:
    """Resolve the newest versions that pyproject.toml allows, for all Pythons and platforms at once."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--generate-hashes", "--no-header", "--upgrade"]
    # One version for all Pythons, so that tests on one of them hold for the others.
    command += ["--python-version", PYTHONS[0], "--fork-strategy", "fewest", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return for_supported_platforms(read(done.stdout))


def _with_torch_for_cpus(pin: Pin) -> Pin:
    if pin.name != "torch":
        return pin
    return replace(pin, hashes=tuple(sorted({*pin.hashes, *TORCH_FOR_CPUS[pin.version]})))


def main() -> None:
    """Resolve the dependencies and write all files."""
    resolved = _resolve()
    requirements = [_with_torch_for_cpus(pin) for pin in resolved if not CUDA.fullmatch(pin.name)]
    cuda = [pin for pin in resolved if CUDA.fullmatch(pin.name)]
    head = "What the service runs on, complete: `make install` gives it to pip with --no-deps."
    Path("requirements.txt").write_text(render(head, requirements))
    head = "What a torch built for CUDA needs on top of requirements.txt."
    Path("requirements-cuda.txt").write_text(render(head, cuda))
    Path("requirements-image.txt").write_text(render_for_cog(requirements, cuda))
    training = _write_extra("train", "What training adapters needs on top of requirements.txt.", requirements)
    head = "What tests, checks and benchmarks need on top of requirements.txt and requirements-train.txt."
    _write_extra("dev", head, [*requirements, *training])
    # Tests need both it and the extra `dev`, so that no package may stand at two versions.
    head = "What a service on Ray Serve needs on top of requirements.txt."
    _write_extra("ray", head, requirements, "requirements-train.txt", "requirements-dev.txt")


def _write_extra(extra: str, head: str, have: Iterable[Pin], *others: str) -> list[Pin]:
    """Resolve an extra and write its file without what one of the others has; returns what the file has.

    Parameters
    ----------
    extra : in pyproject.toml
    head : the first line of the file
    have : what it is installed on top of
    others : further files, at whose versions packages must be
    """
    names = {pin.name for pin in have}
    constraints = [word for file in ("requirements.txt", *others) for word in ("--constraints", file)]
    resolved = _resolve("--extra", extra, *constraints)
    # Of what only CUDA needs, no more than is asked for by name: a torch for CPUs asks for none of it.
    kept = [pin for pin in resolved if pin.name not in names and (pin.is_direct or not CUDA.fullmatch(pin.name))]
    Path(f"requirements-{extra}.txt").write_text(render(head, kept))
    return kept


if __name__ == "__main__":
    main()
