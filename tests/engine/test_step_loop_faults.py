"""The step loop when a step or a join fails, when memory is short, and when it is idle or ends."""

import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import torch

from musicgen_service.engine import allocation
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.prefill import Prefill
from musicgen_service.engine.slots import Slots
from musicgen_service.models.store import WeightStore
from tests.engine.conftest import load
from tests.support.harness import wait_until
from tests.support.sequences import generated, request, streamed


def record_buffers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that records the number of slots of all buffers that are allocated from now on."""
    allocated: list[int] = []

    class Recorded(Buffers):
        def __init__(self, decoder: Decoder, slots: int, *sizes: int) -> None:
            super().__init__(decoder, slots, *sizes)
            allocated.append(slots)

    monkeypatch.setattr(allocation, "Buffers", Recorded)
    return allocated


class Failing:
    """Fails some calls of a method."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, fails: Callable[[int], bool]) -> None:
        self.calls = 0
        method = getattr(owner, name)

        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if fails(self.calls):
                raise torch.OutOfMemoryError("out of memory")
            return method(target, *arguments, **options)

        patch.setattr(owner, name, call)


def test_failed_step_restarts_everything_with_half_the_slots(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[list[torch.Tensor], list[tuple[int, int]]]:
        steps: list[tuple[int, int]] = []
        requests = [request(seed, 60, prefix=seed) for seed in range(6)]
        return engine.generate_many(requests, lambda *step: steps.append(step)), steps

    expected, expected_steps = run()
    Failing(monkeypatch, Slots, "step", lambda call: call == 30)
    slots = record_buffers(monkeypatch)
    tokens, steps = run()
    assert all(map(torch.equal, tokens, expected))
    assert slots == [8, 4]
    assert steps[-1] == expected_steps[-1] and all(a < b for (a, _), (b, _) in itertools.pairwise(steps))


def test_stream_goes_on_after_a_failed_step(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = torch.cat(list(streamed(engine, request(0), 7)), dim=-1)
    Failing(monkeypatch, Slots, "step", lambda call: call == 30)
    assert torch.equal(torch.cat(list(streamed(engine, request(0), 7)), dim=-1), expected)


def test_second_failure_of_a_step_is_raised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        steps = Failing(patch, Slots, "step", lambda call: call >= 10)
        for use in (lambda: generated(engine, request(0)), lambda: list(streamed(engine, request(0), 7))):
            steps.calls = 0
            with pytest.raises(torch.OutOfMemoryError):
                use()
            assert steps.calls == 11
    assert generated(engine, request(0)).shape == (4, 60)


@pytest.mark.parametrize(("owner", "name"), [(Slots, "admit"), (Prefill, "advance"), (allocation.Allocation, "fit")])
def test_failed_join_ends_that_sequence_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    expected = generated(engine, request(0, 300))
    started = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(generated, engine, request(0, 300), lambda *_: started.set())
        assert started.wait(60)
        with monkeypatch.context() as patch:
            Failing(patch, owner, name, lambda _: True)
            with pytest.raises(torch.OutOfMemoryError):
                generated(engine, request(1))
        assert torch.equal(future.result(), expected)


def test_little_memory_gives_fewer_slots_and_the_same_tokens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [request(seed) for seed in range(5)]
    expected = engine.generate_many(requests, lambda *_: None)
    slots = record_buffers(monkeypatch)
    monkeypatch.setattr("musicgen_service.engine.slot_memory._CPU_BYTES", 1)
    again = [request(seed) for seed in range(5)]
    assert all(map(torch.equal, engine.generate_many(again, lambda *_: None), expected))
    assert slots == [1]


def test_longer_sequence_waits_until_larger_buffers_are_possible(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.loop._allocation, "_window", 100)
    expected = generated(engine, request(1, 300))
    slots = record_buffers(monkeypatch)
    with ThreadPoolExecutor(1) as pool, closing(streamed(engine, request(0, 90))) as first:
        next(first)
        future = pool.submit(generated, engine, request(1, 300))
        assert sum(chunk.shape[-1] for chunk in first) == 89
        assert torch.equal(future.result(), expected)
    assert len(slots) == 2


def test_a_cpu_keeps_no_buffers_when_idle(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[Callable[[], object]] = []

    class Recorded(Buffers):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            allocated.append(weakref.ref(self))

    monkeypatch.setattr(allocation, "Buffers", Recorded)
    engine.generate_many([request(seed) for seed in range(12)], lambda *_: None)
    wait_until(lambda: [made() for made in allocated] == [None])


def test_thread_ends_with_its_engine(store: WeightStore) -> None:
    model = load(store, "small")
    engine = model.generator
    assert isinstance(engine, Engine)
    assert engine.loop._inbox.thread is None  # a model that is only loaded has none
    generated(engine, request(0))
    thread = engine.loop._inbox.thread
    assert thread is not None and thread.is_alive()
    gone = weakref.ref(engine.loop)
    del model, engine

    def has_gone() -> bool:
        gc.collect()
        return gone() is None

    wait_until(has_gone)
    thread.join(10)
    assert not thread.is_alive()


def test_unresponsive_time_is_that_of_the_present_turn(engine: Engine, held: threading.Event) -> None:
    assert engine.unresponsive_seconds == 0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(generated, engine, request(0))
        wait_until(lambda: engine.unresponsive_seconds > 0.05)
        held.set()
        future.result()
    wait_until(lambda: engine.unresponsive_seconds == 0)
