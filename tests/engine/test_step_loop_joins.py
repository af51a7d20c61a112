"""Short sequences do not wait for long ones that join."""

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest
import torch

from musicgen_service.engine import step_loop
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition
from musicgen_service.engine.prefill import Prefill
from tests.engine.conftest import Pair
from tests.support.harness import wait_until
from tests.support.sequences import generated, has_waiting, request, streamed


@pytest.fixture(autouse=True)
def one_layer_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that a prefill gets, as with a large network."""
    monkeypatch.setattr(step_loop, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(step_loop, "_LEAST_SHARE", 0.0)


def test_short_sequences_join_beside_a_long_prefill_which_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    known = [0, 1400, 1, 2, 200]
    held.set()
    expected = [generated(engine, request(seed, prefix + 20, prefix)) for seed, prefix in enumerate(known)]
    joins: list[int] = []
    advance = Prefill.advance

    def recording(prefill: Prefill, deadline: float) -> torch.Tensor | None:
        joins.append(prefill.length)
        return advance(prefill, deadline)

    monkeypatch.setattr(Prefill, "advance", recording)
    wait_until(lambda: engine.loop.buffers is None)
    held.clear()
    with ThreadPoolExecutor(len(known)) as pool:
        futures = []
        for seed, prefix in enumerate(known):
            futures.append(pool.submit(generated, engine, request(seed, prefix + 20, prefix)))
            wait_until(partial(has_waiting, engine, seed + 1))
        held.set()
        assert all(torch.equal(future.result(), alone) for future, alone in zip(futures, expected, strict=True))
    first = {prefix: joins.index(prefix) for prefix in known}
    last = {prefix: len(joins) - 1 - joins[::-1].index(prefix) for prefix in known}
    # The short ones join one after the other while the first long one is prefilled; the second long one waits for it.
    assert first[1400] < first[1] < last[1] < first[2] < last[2] < last[1400] < first[200]
    # Every second turn is the long one's, so it is not put off.
    assert all(joins[index - 1] == joins[index + 1] == 1400 for index, prefix in enumerate(joins) if prefix in (1, 2))


@pytest.mark.parametrize("kind", ["small", "melody"])
def test_a_long_text_joins_those_that_run(pairs: dict[str, Pair], kind: str, recorded: list[tuple[str, int]]) -> None:
    engine, melody = pairs[kind].model.generator, pairs[kind].melody
    assert isinstance(engine, Engine)
    words = Condition("rock song with guitar " * 200, melody)
    with closing(streamed(engine, request(0, 1400, condition=Condition("rock", melody)))) as other:
        next(other)
        recorded.clear()
        with closing(streamed(engine, request(1, 1400, condition=words))) as long:
            next(long)
    tensors = engine.to_tensors(words)
    assert max((*tensors.text_lengths, tensors.prefix_length)) >= 512
    assert ("step", 2) in recorded


def test_short_clips_beside_one_of_many_windows_take_little_longer_and_it_still_ends(
    engine: Engine, recorded: list[tuple[str, int]]
) -> None:
    ended = threading.Event()

    def long() -> None:
        for window in range(4):
            generated(engine, replace(request(window, 1200, prefix=1000), is_part=True))
        ended.set()

    turns = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(long)
        while not ended.is_set() and not future.done():
            before = len(recorded)
            generated(engine, request(9, 50))
            turns.append(sum(event == "step" for event, _ in recorded[before:]))
        future.result()
    assert len(turns) > 4
    assert statistics.median(turns) <= 2.5 * 53
