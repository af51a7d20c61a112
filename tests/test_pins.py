"""The pins: complete, hashed, installed, and consistent with pyproject.toml. No package index is queried."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import pins
from deploy.pins import Pin

FILES = (
    "requirements.txt",
    "requirements-cuda.txt",
    "requirements-image.txt",
    "requirements-train.txt",
    "requirements-dev.txt",
    "requirements-ray.txt",
)
INSTALLED = ("requirements.txt", "requirements-train.txt", "requirements-dev.txt")
HERE = {name: str(value) for name, value in default_environment().items()} | {"extra": ""}


def pinned(*files: str) -> list[Pin]:
    return [pin for file in files for pin in pins.read(Path(file).read_text())]


def requirements_of(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, everywhere: for the service, and for some extras."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for texts in lists for text in texts]


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def needed(roots: list[Requirement]) -> set[str]:
    """Names of all transitive dependencies on this Python, by the metadata of installed packages."""
    todo = [requirement for requirement in roots if applies(requirement, HERE)]
    names: set[str] = set()
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        names.add(canonicalize_name(requirement.name))
        for extra in ("", *requirement.extras):
            if (key := f"{requirement.name}[{extra}]") not in seen:
                seen.add(key)
                needs = [Requirement(text) for text in metadata.requires(requirement.name) or []]
                todo += [need for need in needs if applies(need, {**HERE, "extra": extra})]
    return names


@pytest.mark.parametrize(
    ("files", "extras"),
    [
        (["requirements.txt"], []),
        (["requirements.txt", "requirements-train.txt"], ["train"]),
        (INSTALLED, ["train", "dev"]),
    ],
)
def test_pins_are_exactly_the_required_packages(files: list[str], extras: list[str]) -> None:
    have = {pin.name for pin in pinned(*files) if pin.holds(HERE)}
    roots = requirements_of(*extras)
    # torch asks for what is in requirements-cuda.txt where it is built for CUDA, and tests for some of it everywhere.
    only_cuda = {pin.name for pin in pinned("requirements-cuda.txt")} - have
    assert needed(roots) - only_cuda == have


def test_direct_requirements_are_pinned_at_allowed_versions() -> None:
    versions = {pin.name: pin for pin in pinned(*INSTALLED)}
    for requirement in requirements_of("train", "dev"):
        pin = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), requirement
        for environment in pins.environments():
            assert pin.holds(environment) or not applies(requirement, environment), requirement


def test_the_pins_are_installed() -> None:
    differing = {
        pin.name: (metadata.version(pin.name), pin.version)
        for pin in pinned(*INSTALLED, "requirements-no-deps.txt")
        if pin.holds(HERE) and metadata.version(pin.name).partition("+")[0] != pin.version
    }
    assert not differing, "run make install"


@pytest.mark.parametrize("file", [*FILES, "requirements-no-deps.txt"])
def test_every_pin_is_exact_single_and_hashed(file: str) -> None:
    found = pinned(file)
    entries = [line for line in Path(file).read_text().splitlines() if line[:1].isalnum()]
    assert len(found) == len(entries) == len({pin.name for pin in found})
    for pin in found:
        assert pin.hashes and all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in pin.hashes)


@pytest.mark.slow
def test_pip_reads_the_files_and_requires_hashes(tmp_path: Path) -> None:
    """In pip's own words, offline: it reads all lines before it looks for one that has a wrong hash."""
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(re.sub(r"sha256:\w+", "sha256:" + "0" * 64, Path("requirements-no-deps.txt").read_text()))
    (tmp_path / "audiocraft-1.3.0.tar.gz").write_bytes(b"not it")
    for file in (*FILES, wrong):
        command = [
            sys.executable,
            "-m",
            "pip",
            "--isolated",
            "download",
            "--no-index",
            "--no-deps",
            "-q",
            "-r",
            str(file),
        ]
        command += ["--find-links", str(tmp_path), "-d", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        refusal = "THESE PACKAGES DO NOT MATCH THE HASHES" if file == wrong else "No matching distribution found"
        assert done.returncode and refusal in done.stderr, done.stderr


def test_torch_has_the_hashes_of_both_builds() -> None:
    [torch] = [pin for pin in pinned("requirements.txt") if pin.name == "torch"]
    for_cpus = set(pins.TORCH_FOR_CPUS[torch.version])
    assert for_cpus < set(torch.hashes)


def test_cuda_packages_are_in_their_own_file() -> None:
    assert not [pin.name for pin in pinned("requirements.txt") if pins.CUDA.fullmatch(pin.name)]
    assert {"triton", "cuda-toolkit", "nvidia-cudnn-cu13"} <= {pin.name for pin in pinned("requirements-cuda.txt")}


def test_no_pin_is_for_an_unsupported_platform() -> None:
    everything = pinned(*FILES)
    assert pins.for_supported_platforms(everything) == everything


def test_audioop_is_pinned_from_python_3_13() -> None:
    [audioop] = [pin for pin in pinned("requirements.txt") if pin.name == "audioop-lts"]
    assert {environment["python_version"] for environment in pins.environments() if audioop.holds(environment)} == {
        "3.13"
    }


def test_image_requirements_are_derived_from_the_others() -> None:
    made = pins.render_for_cog(pinned("requirements.txt"), pinned("requirements-cuda.txt"))
    assert made == Path("requirements-image.txt").read_text()


def test_cog_does_not_rewrite_the_image_requirements() -> None:
    """The expression with which Cog looks for lines to rewrite (`SplitPinnedPythonRequirement` in its Go source)."""
    rewrites = re.compile(r"([a-zA-Z0-9\-_]+)==([^ ]+)|--find-links=([^\s]+)|-f\s+([^\s]+)|--extra-index-url=([^\s]+)")
    joined = [
        line
        for line in re.sub(r"\\\n", "", Path("requirements-image.txt").read_text()).splitlines()
        if not line.lstrip().startswith("#")
    ]
    assert len(joined) > 100 and not [line for line in joined if rewrites.search(line)]
    assert any(rewrites.search(line) for line in Path("requirements.txt").read_text().splitlines())
    # It has no markers either, and nothing that Cog installs by itself.
    assert not [line for line in joined if ";" in line or line.split()[0] in ("cog", "coglet")]


def test_container_installs_the_same_as_the_makefile() -> None:
    build = yaml.safe_load(Path("cog.yaml").read_text())["build"]
    assert build["python_requirements"] == "requirements-image.txt"
    versions = {pin.name: pin.version for pin in pinned("requirements.txt")}
    assert build["sdk_version"] == versions["cog"]
    commands = " ".join(build["run"])
    assert f"coglet=={versions['coglet']}" in commands.split()
    for pin in pinned("requirements-no-deps.txt"):
        assert f"{pin.name}=={pin.version} --hash=sha256:{pin.hashes[0]}" in commands
    assert commands.count("--no-deps") == commands.count("pip install")


def test_reading_inverts_rendering() -> None:
    both = [
        Pin(
            "a-b",
            "1.0",
            "python_full_version >= '3.13'",
            ("0" * 64, "1" * 64),
            ("c", "d (pyproject.toml)"),
        )
    ]
    both.append(Pin("c", "2", "", ("2" * 64,), ()))
    assert pins.read(pins.render("head", both)) == both
    [read] = pins.read(
        "a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:" + "0" * 64 + "\n    # via\n    #   b\n    #   c\n"
    )
    assert read == Pin("a", "1", "sys_platform == 'linux'", ("0" * 64,), ("b", "c"))
