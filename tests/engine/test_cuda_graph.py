"""Which steps are captured, kept and run eagerly; the graphs themselves are made up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from musicgen_service.engine import cuda_graph
from musicgen_service.engine.cuda_graph import StepGraphs


class Graph:
    """Replays the steps that run while it is captured."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []

    def replay(self) -> None:
        for step in self.steps:
            step()

    def pool(self) -> str:
        return "pool"


class Steps:
    """Counts how each key was run."""

    def __init__(self) -> None:
        self.capturing: Graph | None = None
        self.failing: set[str] = set()
        self.modes: set[str] = set()
        self.eager: list[str] = []
        self.replayed: list[str] = []
        self.captured: list[str] = []

    @contextmanager
    def capture(self, graph: Graph, *, capture_error_mode: str, **_options: Any) -> Iterator[None]:
        self.capturing = graph
        self.modes.add(capture_error_mode)
        try:
            yield
        finally:
            self.capturing = None

    def step(self, key: str) -> Callable[[], None]:
        def run() -> None:
            if self.capturing is None:
                self.eager.append(key)
                return
            if key in self.failing:
                raise RuntimeError("no capture today")
            self.captured.append(key)
            self.capturing.steps.append(lambda: self.replayed.append(key))

        return run


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", steps.capture)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    return steps


def test_a_shape_is_captured_after_two_steps_and_then_replayed(steps: Steps) -> None:
    graphs = StepGraphs(torch.device("cuda"))
    for _ in range(5):
        graphs.run("one", steps.step("one"))
    assert (steps.eager, steps.captured, steps.replayed) == (["one"] * 2, ["one"], ["one"] * 3)
    assert steps.modes == {"thread_local"}, "other threads use the device during a capture"


def test_a_failed_capture_disables_its_own_shape_alone(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    graphs = StepGraphs(torch.device("cuda"))
    steps.failing = {"bad"}
    for _ in range(4):
        for key in ("bad", "good"):
            graphs.run(key, steps.step(key))
    assert steps.eager.count("bad") == 4
    assert steps.replayed == ["good"] * 2
    assert caplog.text.count("no capture today") == 1


def test_the_graph_used_longest_ago_is_dropped(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "MAX_GRAPHS", 2)
    graphs = StepGraphs(torch.device("cuda"))
    for key in ("a", "b", "a", "c", "a", "b"):
        for _ in range(3):
            graphs.run(key, steps.step(key))
    assert steps.captured == ["a", "b", "c", "b"]
    assert len(graphs._graphs) == 2


def test_nothing_is_captured_where_it_is_turned_off(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_CUDA_GRAPH", "0")
    graphs = StepGraphs(torch.device("cuda"))
    for _ in range(4):
        graphs.run("one", steps.step("one"))
    assert (steps.captured, len(steps.eager)) == ([], 4)
