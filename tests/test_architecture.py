"""The shape of the house: who may import whom, and what the project's files promise each other."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_one_door_leads_to_audiocraft() -> None:
    assert importers("audiocraft", "torchaudio", "demucs", "beat_this") == {"models/audiocraft_adapter.py"}


def test_pydub_stays_in_a_program_of_its_own() -> None:
    assert importers("pydub") == {"audio/mp3_export.py"}
    assert not importers("musicgen_service") & {"audio/mp3_export.py"}
    assert not any(name.endswith("mp3_export") for module in MODULES for name in imports_of(module))


def test_nothing_served_replaces_parts_of_other_modules() -> None:
    assert importers("unittest", "mock") == set()


LAYERS = {
    "audio": ("service", "paths", "models", "engine", "analysis", "requests", "cli"),
    "engine": ("service", "paths", "models", "requests", "cli", "analysis", "audio"),
    "analysis": ("service", "paths", "models", "engine", "requests", "cli"),
    "models": ("service", "paths", "requests", "cli", "audio"),
    "paths": ("service", "cli"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_downwards(layer: str) -> None:
    forbidden = {f"musicgen_service.{name}" for name in LAYERS[layer]}
    for module in (PACKAGE / layer).glob("*.py"):
        for name in imports_of(module):
            assert not any(name == f or name.startswith(f + ".") for f in forbidden), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(Path("compat").glob("*.py")), ids=str)
def test_drop_ins_translate_and_leave_the_rest_to_the_service(module: Path) -> None:
    for name in imports_of(module):
        assert not re.match(r"musicgen_service\.(service|paths|engine|analysis|outputs)\b", name), name


def test_a_benchmark_runs_as_a_script_from_anywhere(tmp_path: Path) -> None:
    script = Path("bench/fidelity.py").resolve()
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--checkpoint" in done.stdout, done.stderr


PAGES = [
    *Path().glob("*.md"),
    *(page for folder in ("compat", "demo", "docs", "weights") for page in Path(folder).rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_text_outside_the_code_names_no_machine(page: Path) -> None:
    assert not re.search(r"/(home|work|root|tmp)/", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
