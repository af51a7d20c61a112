"""The step loop: sequences of many callers share its steps, join and leave between them, and fail alone."""

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from musicgen_service.engine import prefill, step_loop
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.prefill import Prefill
from musicgen_service.engine.slots import Slots
from musicgen_service.models.store import WeightStore
from tests.engine.conftest import KINDS, Pair, load
from tests.support.harness import wait_until

TEXT = Condition("rock song with guitar")


def request(seed: int, length: int = 60, prefix: int = 0, condition: Condition = TEXT, **sampling: Any) -> SlotRequest:
    tokens = torch.randint(0, 128, (4, prefix), generator=torch.Generator().manual_seed(seed)) if prefix else None
    return SlotRequest(condition, tokens, length, Sampling(**sampling), torch.Generator().manual_seed(seed))


def generated(
    engine: Engine, asked: SlotRequest, on_step: Callable[[int, int], None] = lambda *_: None
) -> torch.Tensor:
    [tokens] = engine.generate_many([asked], on_step)
    return tokens


def has_waiting(engine: Engine, count: int) -> bool:
    return len(engine.loop._inbox.waiting) == count


@pytest.fixture
def engine(pairs: dict[str, Pair]) -> Engine:
    generator = pairs["small"].model.generator
    assert isinstance(generator, Engine)
    return generator


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every piece and every step, in order: ("prefill", slot) and ("step", number of occupied slots)."""
    events: list[tuple[str, int]] = []
    step, advance = Slots.step, Prefill.advance

    def recorded_step(slots: Slots) -> list[int]:
        events.append(("step", slots.count - len(slots.free)))
        return step(slots)

    def recorded_advance(piece: Prefill) -> torch.Tensor | None:
        events.append(("prefill", piece._slot))
        return advance(piece)

    monkeypatch.setattr(Slots, "step", recorded_step)
    monkeypatch.setattr(Prefill, "advance", recorded_advance)
    return events


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


def test_tokens_do_not_depend_on_other_callers(engine: Engine) -> None:
    requests = [
        request(0, 90),
        request(1, 150, prefix=100),
        request(2, 40, guidance=1.0),
        request(3, 60, condition=replace(TEXT, negative_text="piano")),
        request(4, 200, prefix=130, guidance=1.0, condition=replace(TEXT, negative_text="piano")),
        request(5, 70, top_p=0.9, temperature=1.3),
        request(6, 50, condition=Condition()),
        request(7, 80, temperature=0.0),
    ]
    alone = [generated(engine, replace(r, generator=torch.Generator().manual_seed(i))) for i, r in enumerate(requests)]
    with ThreadPoolExecutor(8) as pool:
        futures = []
        for asked in requests:  # joining late
            futures.append(pool.submit(generated, engine, asked))
            time.sleep(0.01)
        assert all(map(torch.equal, [future.result() for future in futures], alone))


def test_tokens_do_not_depend_on_a_cancelled_neighbour(engine: Engine) -> None:
    alone = generated(engine, request(1, 120))
    started = threading.Event()
    with ThreadPoolExecutor(1) as pool, closing(engine.stream(request(0, 400), 1)) as neighbour:
        next(neighbour)
        future = pool.submit(generated, engine, request(1, 120), lambda *_: started.set())
        assert started.wait(60)
        neighbour.close()
        assert torch.equal(future.result(), alone)


def test_two_callers_share_steps(engine: Engine, recorded: list[tuple[str, int]], held: threading.Event) -> None:
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(generated, engine, request(seed)) for seed in range(2)]
        wait_until(partial(has_waiting, engine, 2))
        held.set()
        for future in futures:
            future.result()
    steps = [occupied for event, occupied in recorded if event == "step"]
    assert 2 in steps and len(steps) < 70  # 63 each


@pytest.mark.parametrize("kind", KINDS)
def test_prefill_takes_one_piece_between_two_steps(
    pairs: dict[str, Pair], kind: str, recorded: list[tuple[str, int]]
) -> None:
    engine, melody, codebooks = pairs[kind].model.generator, pairs[kind].melody, 4 * pairs[kind].model.channels
    assert isinstance(engine, Engine)
    tokens = torch.randint(0, 128, (codebooks, 200), generator=torch.Generator().manual_seed(0))
    joining = SlotRequest(Condition("rock", melody), tokens, 203, Sampling(), torch.Generator())
    with closing(
        engine.stream(SlotRequest(Condition("jazz", melody), None, 400, Sampling(), torch.Generator()), 1)
    ) as s:
        next(s)
        recorded.clear()
        generated(engine, joining)
    own = [event for event in recorded if event != ("prefill", 0)]
    pieces = [index for index, (event, _) in enumerate(own) if event == "prefill"]
    assert len(pieces) >= -(-200 // prefill.PIECE)
    assert all(later - earlier == 2 for earlier, later in itertools.pairwise(pieces))


def test_a_cancelled_sequence_leaves_before_the_next_step(engine: Engine, recorded: list[tuple[str, int]]) -> None:
    stream = engine.stream(request(0, 1400), 1)
    with closing(engine.stream(request(1, 1400), 1)) as other:
        next(other)
        next(stream)
        stream.close()
        recorded.clear()
        wait_until(lambda: len(recorded) > 20)
    occupied = [slots for event, slots in recorded if event == "step"]
    # A step may have begun before.
    assert len(occupied) > 15 and set(occupied[1:]) == {1}


def test_slots_of_a_gpu_are_moved_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    held.set()
    lengths = [60, 61, 62, 63, 64, 120]
    expected = engine.generate_many([request(length, length) for length in lengths], lambda *_: None)
    init, highest = Slots.__init__, []

    def dense(slots: Slots, *arguments: Any) -> None:
        init(slots, *arguments)
        slots.is_dense = True

    def on_step(_done: int, _total: int) -> None:
        highest.append(max(engine.loop._live, default=0))

    monkeypatch.setattr(Slots, "__init__", dense)
    monkeypatch.setattr(torch, "empty", torch.zeros)  # masked positions are multiplied by zero, so they must be finite
    wait_until(lambda: engine.loop.buffers is None)
    held.clear()
    with ThreadPoolExecutor(6) as pool:
        futures = []
        for number, length in enumerate(lengths, 1):
            futures.append(pool.submit(generated, engine, request(length, length), on_step))
            wait_until(partial(has_waiting, engine, number))  # the longest comes last, so it is in the highest slot
        held.set()
        tokens = [future.result() for future in futures]
    assert all(map(torch.equal, tokens, expected))
    assert highest[-1] == 0


def test_exception_from_on_step_frees_the_slots(engine: Engine) -> None:
    def fail(*_steps: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        engine.generate_many([request(seed, 600) for seed in range(3)], fail)
    wait_until(lambda: not engine.loop._live and engine.loop.buffers is None)


def test_a_long_clip_leaves_a_slot_to_short_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, recorded: list[tuple[str, int]]
) -> None:
    monkeypatch.setitem(step_loop.MAX_SLOTS, "cpu", 3)
    engine.loop._max_slots = 3
    parts = [replace(request(seed, 250), is_part=True) for seed in range(6)]
    started = threading.Event()
    order: list[str] = []

    def on_step(done: int, total: int) -> None:
        started.set()
        if done == total:
            order.append("long")

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(engine.generate_many, parts, on_step)
        assert started.wait(60)
        generated(engine, request(9, 20))
        order.append("short")
        long.result()
    assert order == ["short", "long"]
    assert max(occupied for event, occupied in recorded if event == "step") == 3


def test_sequences_are_served_in_the_order_of_their_arrival(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    monkeypatch.setitem(step_loop.MAX_SLOTS, "cpu", 2)
    engine.loop._max_slots = 2
    admitted: list[int] = []
    admit = Slots.admit

    def recording(slots: Slots, slot: int, condition: Any, tokens: Any, length: int, *others: Any) -> None:
        admitted.append(length)
        admit(slots, slot, condition, tokens, length, *others)

    monkeypatch.setattr(Slots, "admit", recording)
    with ThreadPoolExecutor(5) as pool:
        for number, length in enumerate((30, 20, 50, 10, 40), 1):
            pool.submit(generated, engine, request(length, length))
            wait_until(partial(has_waiting, engine, number))
        held.set()
    assert admitted == [30, 20, 50, 10, 40]


def record_buffers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that records the number of slots of all buffers that are allocated from now on."""
    allocated: list[int] = []

    class Recorded(Buffers):
        def __init__(self, decoder: Decoder, slots: int, *sizes: int) -> None:
            super().__init__(decoder, slots, *sizes)
            allocated.append(slots)

    monkeypatch.setattr(step_loop, "Buffers", Recorded)
    return allocated


class Failing:
    """Fails some calls of a method."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str, fails: Callable[[int], bool]) -> None:
        self.calls = 0
        method = getattr(owner, name)

        def call(target: Any, *arguments: Any) -> Any:
            self.calls += 1
            if fails(self.calls):
                raise torch.OutOfMemoryError("out of memory")
            return method(target, *arguments)

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
    expected = torch.cat(list(engine.stream(request(0), 7)), dim=-1)
    Failing(monkeypatch, Slots, "step", lambda call: call == 30)
    assert torch.equal(torch.cat(list(engine.stream(request(0), 7)), dim=-1), expected)


def test_second_failure_of_a_step_is_raised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        steps = Failing(patch, Slots, "step", lambda call: call >= 10)
        for use in (lambda: generated(engine, request(0)), lambda: list(engine.stream(request(0), 7))):
            steps.calls = 0
            with pytest.raises(torch.OutOfMemoryError):
                use()
            assert steps.calls == 11
    assert generated(engine, request(0)).shape == (4, 60)


@pytest.mark.parametrize(
    ("owner", "name"), [(Slots, "admit"), (Prefill, "advance"), (step_loop.StepLoop, "_slots_for")]
)
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
    monkeypatch.setattr(engine.loop, "_window", 100)
    expected = generated(engine, request(1, 300))
    slots = record_buffers(monkeypatch)
    with ThreadPoolExecutor(1) as pool, closing(engine.stream(request(0, 90), 1)) as first:
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

    monkeypatch.setattr(step_loop, "Buffers", Recorded)
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
