"""The drop-ins' cog.yaml files: the root's, but for the predictor they run."""

from pathlib import Path

import pytest
import yaml

from musicgen_service import systems

FILES = sorted(Path("compat").glob("*/cog.yaml"))
ROOT = Path("cog.yaml")


def lines(file: Path) -> list[str]:
    """A file without the comment at its head."""
    text = file.read_text().splitlines()
    return text[next(index for index, line in enumerate(text) if not line.startswith("#")) :]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_only_the_predictor_differs(file: Path) -> None:
    differing = [(ours, theirs) for ours, theirs in zip(lines(file), lines(ROOT), strict=True) if ours != theirs]
    [(ours, theirs)] = differing
    assert theirs == f'run: "{yaml.safe_load(ROOT.read_text())["run"]}"'
    assert ours == f'run: "compat/{file.parent.name}.py:Predictor"'


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_predictor_is_there(file: Path) -> None:
    name, _, cls = yaml.safe_load(file.read_text())["run"].partition(":")
    assert Path(name).is_file() and cls == "Predictor"
    assert f"cog build -f {file}" in file.read_text()


def test_every_drop_in_is_known_and_has_its_page() -> None:
    modules = {path.stem for path in Path("compat").glob("*.py")} - {"__init__", "dropin"}
    assert set(systems.names()) == modules == {page.stem for page in Path("tests/data/systems").glob("*.txt")}


def test_the_file_has_the_one_name_that_cog_build_takes_in_a_folder() -> None:
    # For any other name Cog's Dockerfile copies it from the root of the image, where this file is not.
    assert {file.name for file in Path("compat").rglob("*.yaml")} == {"cog.yaml"}
