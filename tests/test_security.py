"""Statements of SECURITY.md that can be checked in the code, and a malicious checkpoint."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_service.models import loading
from musicgen_service.models.store import WeightsError, WeightStore

SOURCES = [
    *Path("musicgen_service").rglob("*.py"),
    *Path("compat").rglob("*.py"),
    *Path("demo").rglob("*.py"),
    Path("predict.py"),
]
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    return [
        (file, node)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]


def test_torch_restores_weights_only() -> None:
    found = calls("torch.load")
    assert found
    for file, call in found:
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert options.get("weights_only") == "True", f"{file}:{call.lineno}"


def test_nothing_else_unpickles() -> None:
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & FORBIDDEN, file
    for name in ("eval", "exec", "os.system", "yaml.load"):
        assert not calls(name), name


def test_no_command_is_run_through_a_shell() -> None:
    for name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
        for file, call in calls(name):
            assert "shell" not in {keyword.arg for keyword in call.keywords}, f"{file}:{call.lineno}"


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return (Path.touch, (self.witness,))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    witness, folder = tmp_path / "witness", tmp_path / "small"
    folder.mkdir()
    for name in ("state_dict.bin", "compression_state_dict.bin"):
        torch.save({"best_state": Attack(witness), "xp.cfg": ""}, folder / name)
    with pytest.raises(WeightsError, match="'small' could not be loaded"):
        loading.load_model(WeightStore(tmp_path).checkpoint("small"), torch.device("cpu"))
    assert not witness.exists()
    torch.load(folder / "state_dict.bin", weights_only=False)
    assert witness.exists()  # so it would have been run
