"""What numba compiles is kept on disk, and read there by the processes after."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.engine.step_kernel import kernel, many_rows, processor

pytestmark = pytest.mark.skipif(not processor.is_supported(), reason="the processor has no AVX2")


@pytest.mark.parametrize("make_entry", [kernel.entry_of, many_rows.entry_of], ids=["step", "prefill"])
def test_kernels_are_kept_by_their_version_alone(make_entry: Callable[[str], Any]) -> None:
    assert [cell.cell_contents for cell in make_entry("version").__closure__] == ["version"]


@pytest.mark.slow
def test_another_process_does_not_compile_again(tmp_path: Path) -> None:
    program = f"from {many_rows.__name__} import kernel; kernel()"
    kept = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, check=True)
        kept.append(sorted(tmp_path.rglob("*.nbc")))
    assert len(kept[0]) == 1
    assert kept[0] == kept[1]
