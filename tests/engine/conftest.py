"""Fixtures of the engine tests: every kind of model twice, with audiocraft's own loop and with the engine."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_service.engine import step_loop
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.prefill import Prefill
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.engine.slots import Slots
from musicgen_service.models import loading
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

KINDS = ("small", "melody", "stereo-small", "stereo-melody")


@dataclass
class Pair:
    """One checkpoint with both generators."""

    reference: MusicGenModel
    model: MusicGenModel

    @property
    def lm(self) -> Any:
        """audiocraft's language model."""
        assert isinstance(self.reference.generator, ReferenceLoop)
        return self.reference.generator.lm

    @property
    def melody(self) -> torch.Tensor | None:
        """Two seconds of sound as melody, for models that take one."""
        return torch.sin(torch.arange(64_000) * 0.08)[None] if self.model.melody_span is not None else None


def load(store: WeightStore, name: str, engine: str = "", precision: str = "exact") -> MusicGenModel:
    """Load a model with the engine and precision that these settings select."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_ENGINE", engine)
        patch.setenv("MUSICGEN_PRECISION", precision)
        return loading.load_model(store.checkpoint(name), torch.device("cpu"))


@pytest.fixture(scope="session")
def pairs(store: WeightStore) -> dict[str, Pair]:
    """One pair per kind of model."""
    return {name: Pair(load(store, name, "reference"), load(store, name)) for name in KINDS}


@pytest.fixture(scope="session")
def shipped() -> Pair:
    """The checkpoint that comes with the repository."""
    store = WeightStore(Path(__file__).parents[2] / "weights")
    return Pair(load(store, "demo", "reference"), load(store, "demo"))


@pytest.fixture
def engine(pairs: dict[str, Pair]) -> Engine:
    generator = pairs["small"].model.generator
    assert isinstance(generator, Engine)
    return generator


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every loop before its next turn until the event is set."""
    event = threading.Event()
    turn = step_loop.StepLoop._take_turn

    def held_turn(loop: step_loop.StepLoop) -> None:
        event.wait(60)
        turn(loop)

    monkeypatch.setattr(step_loop.StepLoop, "_take_turn", held_turn)
    yield event
    event.set()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every piece and every step, in order: ("prefill", slot) and ("step", number of occupied slots)."""
    events: list[tuple[str, int]] = []
    step, advance = Slots.step, Prefill.advance

    def recorded_step(slots: Slots) -> list[int]:
        events.append(("step", slots.count - len(slots.free)))
        return step(slots)

    def recorded_advance(piece: Prefill, deadline: float) -> torch.Tensor | None:
        events.append(("prefill", piece._slot))
        return advance(piece, deadline)

    monkeypatch.setattr(Slots, "step", recorded_step)
    monkeypatch.setattr(Prefill, "advance", recorded_advance)
    return events
