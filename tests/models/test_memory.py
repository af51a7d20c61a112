"""The memory budget that models and slots share."""

from queue import SimpleQueue

import psutil
import pytest
import torch

from musicgen_service.engine import weights
from musicgen_service.engine.allocation import MAX_SLOTS
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling, SlotRequest
from musicgen_service.engine.linear import DenseLinear
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.models.memory import GB, MemoryBudget, ModelSlotMemory, default_budget

CPU = torch.device("cpu")


def test_budget_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MEMORY_GB", "1.5")
    assert default_budget(CPU) == 1_500_000_000


def test_default_budget_is_less_than_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICGEN_MEMORY_GB", raising=False)
    assert 0 < default_budget(CPU) < psutil.virtual_memory().available


def test_slots_leave_a_share_of_what_is_free() -> None:
    budget = MemoryBudget(1000)
    budget.take("a model", 500)
    slots = ModelSlotMemory(budget, "a model")
    assert slots.reserve(50, 32) == 8 and budget.free == 100
    assert slots.reserve(50, 4) == 4 and budget.free == 300  # in place of those before
    slots.release()
    assert budget.free == 500
    assert slots.reserve(5000, 4) == 1  # one is always possible


def test_slots_of_large_on_a_gpu_stay_the_same_after_any_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_SLOTS, "meta", MAX_SLOTS["cuda"])
    device, dim, layers = torch.device("meta"), 2048, 48  # in the place of a GPU, whose buffers are kept as well
    numerics = Numerics(Precision.HALF, device)

    def take(_name: str, *shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device, dtype=numerics.dtype)

    shape = weights.DecoderShape(dim, 32, layers, 4 * dim, 4, 2048, True)
    packed = weights.build(shape, take, DenseLinear, DenseLinear, numerics.dtype)
    budget = MemoryBudget(int(0.8 * 80 * GB))
    budget.take("large", 2 * 14 * dim**2 * layers)
    memory = ModelSlotMemory(budget, "large")
    engine = Engine(packed, range(4), lambda _: ConditionTensors((), None), numerics, 1500, memory)
    allocation = engine.loop._allocation

    def slots_after(*calls: tuple[int, int, *tuple[int, ...]]) -> list[int]:
        """The number of slots at each allocation that calls cause; of each how often, its frames and its texts."""
        kept = {}
        for count, frames, *texts in calls:
            for _ in range(count):
                request = SlotRequest(Condition(), None, frames, Sampling(), torch.Generator())
                condition = ConditionTensors(tuple(torch.empty(length, dim, device=device) for length in texts), None)
                slots = allocation.fit(Handle(request, condition, frames, SimpleQueue()), is_idle=True)
                assert slots is not None
                kept[slots] = slots.count
        return list(kept.values())

    usual = (32, 1500, 12), (1, 50, 3), (32, 1500, 60), (4, 900, 200), (1, 1500, 1), (40, 1200, 7)
    assert slots_after(*usual) == [32]
    # A negative prompt and a long one, each of which is made room for once.
    larger = (1, 1500, 12, 5), (1, 500, 400)
    assert slots_after(*larger, *usual, *larger, *usual) == [32, 28]
    allocation.halve()
    assert slots_after(*usual) == [14]
    allocation.rest()
    assert slots_after(*larger, *usual) == [28]
    assert budget.free > 0
