"""Import layering, and consistency of the project's files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_service.models.catalogue import PACKAGED

PACKAGE = Path("musicgen_service")
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def importers(*names: str) -> set[str]:
    return {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if any(name.partition(".")[0] in names for name in imports_of(module))
    }


@pytest.mark.parametrize("package", ["audiocraft", "demucs", "beat_this"])
def test_one_module_imports_a_package_of_networks(package: str) -> None:
    assert importers(package) == {f"models/{package}_adapter.py"}


def test_the_reference_and_training_alone_need_transformers() -> None:
    assert importers("omegaconf") == {"models/audiocraft_adapter.py"}
    assert importers("transformers") == {"models/audiocraft_adapter.py", "training/network.py"}
    assert importers("peft") == {"training/network.py"} and importers("accelerate") == {"training/processes.py"}
    assert importers("tensorboardX") == {"training/board.py"}


def test_packages_that_contain_weights_are_not_imported() -> None:
    assert importers(*(packaged.package for packaged in PACKAGED.values())) == set()


def test_only_the_mp3_exporter_imports_pydub() -> None:
    assert importers("pydub") == {"audio/mp3_export.py"}
    assert not importers("musicgen_service") & {"audio/mp3_export.py"}
    assert not any(name.endswith("mp3_export") for module in MODULES for name in imports_of(module))


def test_the_gateway_starts_without_torch() -> None:
    """Its import would be most of the time that the gateway, and a replica of a cluster, takes to start."""
    program = "from musicgen_service.serving import cog_server, supervisor; import sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_package_does_not_import_unittest_mock() -> None:
    assert importers("unittest", "mock") == set()


BELOW = {
    "audio": set[str](),
    "engine": set[str](),
    "analysis": {"audio"},
    "models": {"analysis", "audio", "engine"},
    "requests": {"analysis.chord_labels", "analysis.chord_symbols", "analysis.pitch", "audio", "models.catalogue"},
    "inputs": {"audio", "requests"},
    "paths": {"analysis", "audio", "engine", "models", "requests"},
    "training": {"analysis", "audio", "engine", "models", "requests"},
}
"""What each package may import of the others. `cli` and `serving` are at the top and may import all of them."""
SHARED = {
    *("cgroups", "folders", "home", "installation", "listener", "notes", "progress", "redaction", "seeds", "settings"),
    *("setting_types", "suggestion", "threads", "__version__"),
}
"""Modules below every package."""


@pytest.mark.parametrize("package", BELOW)
def test_imports_point_downwards(package: str) -> None:
    allowed = {f"musicgen_service.{name}" for name in {package} | BELOW[package] | SHARED}
    for module in (PACKAGE / package).glob("*.py"):
        for name in imports_of(module):
            is_ours = name.startswith("musicgen_service.")
            within = any(name == path or name.startswith(path + ".") or path.startswith(name + ".") for path in allowed)
            assert within or not is_ours, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(Path("compat").glob("*.py")), ids=str)
def test_drop_ins_only_translate_inputs(module: Path) -> None:
    for name in imports_of(module):
        assert not re.match(r"musicgen_service\.(service|paths|engine|analysis|outputs)\b", name), name


def test_benchmark_runs_as_a_script_from_any_folder(tmp_path: Path) -> None:
    script = Path("bench/fidelity.py").resolve()
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--checkpoint" in done.stdout, done.stderr


PAGES = [
    *Path().glob("*.md"),
    *(page for folder in ("bench", "compat", "demo", "docs", "weights") for page in Path(folder).rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_text_files_name_no_machine(page: Path) -> None:
    assert not re.search(r"/(home|work|root|tmp)/", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_in_pages_resolve(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
