"""Allocation of slots: how large they are, how many, and what becomes of them after a failure."""

from queue import SimpleQueue
from typing import Any

import pytest
import torch

from musicgen_service.engine import allocation, weights
from musicgen_service.engine.allocation import MAX_SLOTS, Allocation
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling, SlotRequest
from musicgen_service.engine.linear import DenseLinear
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.slot_memory import UnsharedSlotMemory

GPU = torch.device("meta")
"""In the place of a GPU, whose buffers are kept as well."""
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def as_many_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAX_SLOTS, "meta", 32)


def allocation_on(device: torch.device) -> Allocation:
    shape = weights.DecoderShape(64, 4, 2, 256, 4, 128, True)
    taken = weights.build(shape, lambda _name, *sizes: torch.zeros(sizes), DenseLinear, DenseLinear, torch.float32)
    decoder = Decoder(taken, torch.float32, torch.float32, device)
    return Allocation(decoder, DelayPattern(range(4), shape.card), 256, UnsharedSlotMemory(device))


def sequence(frames: int = 100, *texts: int) -> Handle:
    """A sequence with texts of some lengths."""
    condition = ConditionTensors(tuple(torch.empty(length, 64) for length in texts or (10,)), None)
    request = SlotRequest(Condition(), None, frames, Sampling(), torch.Generator())
    return Handle(request, condition, frames, SimpleQueue())


def test_two_kinds_of_sequence_in_turns_replace_the_slots_once_each() -> None:
    slots = allocation_on(GPU)
    kinds = [sequence(), sequence(100, 10, 12), sequence(100, 300), sequence(600)]
    first = [slots.fit(kind, is_idle=True) for kind in kinds]
    assert len(set(first)) == 4
    assert {slots.fit(kind, is_idle=True) for kind in kinds} == {first[-1]}


def test_slots_that_are_in_use_are_not_replaced() -> None:
    slots = allocation_on(GPU)
    assert slots.fit(sequence(), is_idle=True) is not None
    assert slots.fit(sequence(600), is_idle=False) is None
    assert slots.fit(sequence(), is_idle=False) is slots.slots


def test_every_text_fits_the_slots_of_a_cpu() -> None:
    slots = allocation_on(CPU)
    first = slots.fit(sequence(), is_idle=True)
    assert first is not None and slots.fit(sequence(100, 512, 512), is_idle=False) is first


def test_half_the_slots_after_a_failure_are_for_as_long_as_there_is_work() -> None:
    slots = allocation_on(GPU)
    counts = []
    for after in (slots.halve, slots.rest, slots.rest):
        fitting = slots.fit(sequence(), is_idle=True)
        assert fitting is not None
        counts.append(fitting.count)
        after()
    assert counts == [32, 16, 32]
    assert slots.slots is not None  # a GPU keeps them


@pytest.mark.parametrize(("room", "counts"), [(9, [32, 16, 8]), (1, [32, 16, 8, 4, 2, 1]), (0, [32, 16, 8, 4, 2, 1])])
def test_where_no_memory_is_left_there_are_fewer_slots(
    room: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def allocate(decoder: Decoder, count: int, *sizes: Any) -> Buffers:
        tried.append(count)
        if count > room:
            raise torch.OutOfMemoryError("out of memory")
        return Buffers(decoder, count, *sizes)

    slots = allocation_on(GPU)
    with monkeypatch.context() as patch:
        patch.setattr(allocation, "Buffers", allocate)
        patch.setattr(allocate, "bytes_per_slot", Buffers.bytes_per_slot, raising=False)
        if room:
            fitting = slots.fit(sequence(), is_idle=True)
            assert fitting is not None and fitting.count == counts[-1]
        else:
            with pytest.raises(torch.OutOfMemoryError):
                slots.fit(sequence(), is_idle=True)
    assert tried == counts
    slots.rest()
    again = slots.fit(sequence(), is_idle=True)
    assert again is not None and again.count == 32


def test_a_device_that_cannot_give_memory_back_keeps_no_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    slots = allocation_on(CPU)
    slots.fit(sequence(), is_idle=True)
    monkeypatch.setattr(slots._decoder, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    slots.release()
    assert slots.slots is None
