"""The cog.yaml files of the root and the drop-ins: generated from the template, and valid for Cog."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy import cog_yaml
from musicgen_service import predictors

FILES = [Path("cog.yaml"), *sorted(Path("compat").glob("*/cog.yaml"))]
SCHEMA = json.loads(Path("tests/data/schemas/cog-config-1.0.json").read_text())
REFUSED = re.compile(
    r"(PATH|LD_LIBRARY_PATH|PYTHONPATH|VIRTUAL_ENV|PYTHONUNBUFFERED|LIBRARY_PATH|HF_ENDPOINT|HF_HUB_ENABLE_HF_TRANSFER"
    r"|(R8|REPLICATE|CUDA|NVIDIA|NV|PGET|KUBERNETES)_.*)"
)
"""Variables that Cog forbids in a cog.yaml (`environmentVariableDenyList` in its pkg/config/env.go)."""
every_file = pytest.mark.parametrize("file", FILES, ids=str)


def config(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(file.read_text())
    return read


def test_files_are_up_to_date_with_the_template() -> None:
    assert {file: file.read_text() for file in FILES} == cog_yaml.files()


@every_file
def test_file_matches_cogs_schema(file: Path) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(config(file))


@pytest.mark.parametrize(
    "wrong", [{"gpus": True}, {"build": {"gpu": True}}, {"environment": ["A B=1"]}, {"run": 1}, {"predict": "a.py:P"}]
)
def test_schema_rejects_a_wrong_file(wrong: dict[str, Any]) -> None:
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(config(Path("cog.yaml")) | wrong)


@every_file
def test_nothing_assumes_a_pip_on_the_path(file: Path) -> None:
    for command in config(file)["build"]["run"]:
        assert "\n" not in command  # which Cog refuses
        for part in re.split(r"[|;&]+", command):
            program, *arguments = part.split()
            assert program in ("echo", "python", "chmod"), command
            if program == "python":
                assert arguments[:4] == ["-m", "pip", "install", "--break-system-packages"]


@every_file
def test_an_ordinary_user_can_run_python(file: Path) -> None:
    assert "chmod a+x /root" in config(file)["build"]["run"]


@every_file
def test_the_commands_are_shell(file: Path) -> None:
    for command in config(file)["build"]["run"]:
        subprocess.run(["sh", "-n", "-c", command], check=True)


@every_file
def test_environment_variables_are_allowed_by_cog(file: Path) -> None:
    names = [line.partition("=")[0] for line in config(file)["environment"]]
    assert len(set(names)) == len(names) and not [name for name in names if REFUSED.fullmatch(name)]


@every_file
def test_predictor_exists(file: Path) -> None:
    name, _, cls = config(file)["run"].partition(":")
    assert Path(name).is_file() and cls == "Predictor"
    system = None if file == Path("cog.yaml") else file.parent.name
    assert config(file)["run"] == predictors.predictor(system)


@pytest.mark.parametrize("file", FILES[1:], ids=str)
def test_file_contains_its_build_command(file: Path) -> None:
    assert f"cog build -f {file}" in file.read_text()


def test_every_drop_in_has_a_cog_yaml_and_a_reference_page() -> None:
    modules = {path.stem for path in Path("compat").glob("*.py")} - {"__init__", "dropin"}
    assert set(predictors.names()) == modules == {page.stem for page in Path("tests/data/systems").glob("*.txt")}


def test_file_is_named_cog_yaml() -> None:
    # For any other name Cog's Dockerfile copies it from the root of the image, where this file is not.
    assert {file.name for file in Path("compat").rglob("*.yaml")} == {"cog.yaml"}
