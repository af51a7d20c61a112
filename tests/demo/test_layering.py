"""The synthesiser does not depend on the training code."""

import ast
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "demo"


@pytest.mark.parametrize("module", [*sorted((DEMO / "synth").glob("*.py")), DEMO / "measure.py"], ids=lambda p: p.name)
def test_synth_does_not_import_training(module: Path) -> None:
    names = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    assert not [name for name in names if name.startswith(("demo.training", "bench"))]
