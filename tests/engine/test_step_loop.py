"""The step loop: sequences of many callers share its steps, join and leave between them, and fail alone."""

import itertools
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from musicgen_service.engine import allocation, prefill, step_loop
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.slots import Slots
from tests.engine.conftest import KINDS, Pair
from tests.support.harness import wait_until
from tests.support.sequences import TEXT, generated, has_waiting, request, streamed


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
    with ThreadPoolExecutor(1) as pool, closing(streamed(engine, request(0, 400))) as neighbour:
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
        streamed(engine, SlotRequest(Condition("jazz", melody), None, 400, Sampling(), torch.Generator()))
    ) as s:
        next(s)
        recorded.clear()
        generated(engine, joining)
    own = [event for event in recorded if event != ("prefill", 0)]
    pieces = [index for index, (event, _) in enumerate(own) if event == "prefill"]
    assert len(pieces) >= -(-200 // prefill.PIECE)
    assert all(later - earlier == 2 for earlier, later in itertools.pairwise(pieces))


def test_prefill_takes_layers_of_a_piece_where_a_turn_has_no_time_for_more(
    engine: Engine, recorded: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_loop, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(step_loop, "_LEAST_SHARE", 0.0)
    alone = generated(engine, request(0, 103, prefix=100))
    with closing(streamed(engine, request(1, 1400))) as other:
        next(other)
        recorded.clear()
        beside = generated(engine, request(0, 103, prefix=100))
    assert torch.equal(beside, alone)
    parts = [index for index, (event, _) in enumerate(recorded) if event == "prefill"]
    # The text comes first.
    assert len(parts) == len(engine.weights.layers) * (1 + -(-100 // prefill.PIECE))
    assert all(later - earlier == 2 for earlier, later in itertools.pairwise(parts))


def test_long_steps_leave_a_prefill_its_share(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_loop, "_TURN_SECONDS", 0.0)
    shares: list[float] = []
    is_slow = threading.Event()
    prefilled, step = Slots.prefill, Slots.step

    def timed(slots: Slots, slot: int, deadline: float) -> bool:
        shares.append(deadline - time.monotonic())
        return prefilled(slots, slot, deadline)

    def slow(slots: Slots) -> list[int]:
        time.sleep(0.3)
        is_slow.set()
        return step(slots)

    with closing(streamed(engine, request(1, 1400))) as other:
        next(other)
        monkeypatch.setattr(Slots, "step", slow)
        assert is_slow.wait(60)
        monkeypatch.setattr(Slots, "prefill", timed)
        generated(engine, request(0, 103, prefix=100))
    assert min(shares) > 0.1


def test_a_cancelled_sequence_leaves_before_the_next_step(engine: Engine, recorded: list[tuple[str, int]]) -> None:
    stream = streamed(engine, request(0, 1400))
    with closing(streamed(engine, request(1, 1400))) as other:
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


def test_a_cancel_while_a_sequence_is_submitted_frees_its_slot(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancelled(BaseException):
        pass

    submit, submitted = step_loop.StepLoop.submit, list[Handle]()

    def interrupted(loop: step_loop.StepLoop, handles: Iterable[Handle]) -> None:
        submitted.extend(handles)
        submit(loop, submitted)
        raise Cancelled

    monkeypatch.setattr(step_loop.StepLoop, "submit", interrupted)
    with pytest.raises(Cancelled):
        generated(engine, request(0, 1400))
    assert [handle.is_cancelled for handle in submitted] == [True]


def test_a_long_clip_leaves_a_slot_to_short_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, recorded: list[tuple[str, int]]
) -> None:
    monkeypatch.setitem(allocation.MAX_SLOTS, "cpu", 3)
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
    monkeypatch.setitem(allocation.MAX_SLOTS, "cpu", 2)
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
