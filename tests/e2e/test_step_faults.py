"""A step that fails once, while all slots of the real server are taken."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import PROJECT, serving, wait_until

AT_ONCE = 8
ONE_FAULT = f"""
import importlib.util
import sys


class Finder:
    def find_spec(self, name, path, target=None):
        if name != "musicgen_service.engine.slots":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), fail_once(module.Slots))
        return spec


def fail_once(slots):
    step = slots.step

    def failing(self):
        if self.count - len(self.free) < {AT_ONCE}:
            return step(self)
        slots.step = step
        raise RuntimeError("the card fell off the bus")

    slots.step = failing


sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
def test_all_requests_are_served_though_a_step_fails(folder_to_serve: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ONE_FAULT)
    settings = {"MUSICGEN_WEIGHTS": str(folder_to_serve), "MUSICGEN_MODELS": "small", "PYTHONPATH": str(tmp_path)}
    command = ["-m", "musicgen_service", "serve", "--port"]
    with serving(command, PROJECT, tmp_path / "temp", **settings) as server:

        def ask(seed: int) -> dict[str, Any]:
            inputs = {"prompt": "rock", "model_version": "small", "duration": 10, "seed": seed}
            reply: dict[str, Any] = server.post({"input": inputs}).json()
            return reply

        alone = [ask(seed) for seed in range(1, AT_ONCE + 1)]
        assert "a step failed" not in server.log.read_text()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            together = list(pool.map(ask, range(1, AT_ONCE + 1)))
        wait_until(lambda: f"a step failed; {AT_ONCE} sequences start again" in server.log.read_text())
        for reply, expected in zip(together, alone, strict=True):
            assert (reply["status"], reply["output"]) == ("succeeded", expected["output"]), reply
        assert server.status() == "READY"
