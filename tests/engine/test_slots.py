"""Requests that share steps do not affect each other."""

import itertools
from collections.abc import Sequence

import pytest
import torch

from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.slots import Slots
from musicgen_service.models.musicgen import MusicGenModel
from tests.engine.conftest import KINDS, Pair
from tests.support.tokens import generate


def requests_for(model: MusicGenModel, melody: torch.Tensor | None) -> list[SlotRequest]:
    """Ten requests that differ in everything but the model."""
    samplings = [
        Sampling(),
        Sampling(top_k=5, guidance=1.0),
        Sampling(top_p=0.9),
        Sampling(temperature=0.0),
        Sampling(temperature=1.5, top_k=0),
    ]
    codebooks = 4 * model.channels
    requests = []
    for index in range(10):
        text = "rock song with guitar , drums and bass".rsplit(maxsplit=index % 4)[0]
        prompt = torch.randint(0, 128, (codebooks, index), generator=torch.Generator().manual_seed(index))
        requests.append(
            SlotRequest(
                condition=Condition(text, melody),
                prefix_tokens=prompt if index else None,
                length=20 + 7 * index,
                sampling=samplings[index % len(samplings)],
                generator=torch.Generator().manual_seed(100 + index),
            )
        )
    return requests


def alone(model: MusicGenModel, requests: Sequence[SlotRequest]) -> list[torch.Tensor]:
    return [
        generate(
            model,
            request.condition,
            request.length,
            seed=100 + index,
            prefix_tokens=request.prefix_tokens,
            sampling=request.sampling,
        )
        for index, request in enumerate(requests)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_single_runs_and_audiocraft(pairs: dict[str, Pair], kind: str) -> None:
    pair = pairs[kind]
    together = pair.model.generator.generate_many(requests_for(pair.model, pair.melody), lambda *_: None)
    requests = requests_for(pair.model, pair.melody)
    for model in (pair.model, pair.reference):
        assert all(map(torch.equal, together, alone(model, requests)))


@pytest.mark.slow
def test_batch_equals_single_runs_beyond_512_positions(pairs: dict[str, Pair]) -> None:
    # torch's attention works in blocks of 512 keys, and splits them differently for other batches.
    model = pairs["small"].model
    requests = [
        SlotRequest(Condition("guitar"), None, 600, Sampling(), torch.Generator().manual_seed(100 + index))
        for index in range(3)
    ]
    together = model.generator.generate_many(requests, lambda *_: None)
    assert all(map(torch.equal, together, alone(model, requests)))


def test_reference_loop_uses_generators_as_the_engine_does(pairs: dict[str, Pair]) -> None:
    pair = pairs["small"]
    both = []
    for model in (pair.model, pair.reference):
        requests = requests_for(model, None)[:4]
        # Twice, so that the second call continues from the generator state that the first one left.
        both.append([model.generator.generate_many(requests, lambda *_: None) for _ in range(2)])
    for ours, theirs in zip(both[0], both[1], strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_late_admission_and_early_release(pairs: dict[str, Pair]) -> None:
    model = pairs["small"].model
    engine = model.generator
    assert isinstance(engine, Engine)
    requests = requests_for(model, None)[:3]
    expected = alone(model, requests)
    conditions = engine._condition_tensors(requests)
    slots = Slots(engine.decoder, engine.pattern, Buffers(engine.decoder, 8, 256, 256, 1))

    def admit(slot: int, index: int) -> None:
        request = requests[index]
        slots.admit(slot, conditions[index], request.prefix_tokens, request.length, request.sampling, request.generator)
        while not slots.prefill(slot):
            pass

    admit(0, 0)
    admit(2, 2)
    for _ in range(5):
        slots.step()
    admit(7, 1)
    for _ in range(4):
        slots.step()
    slots.release(2)
    complete: list[int] = []
    while len(complete) < 2:
        complete += slots.step()
    assert torch.equal(slots.tokens(0), expected[0])
    assert torch.equal(slots.tokens(7), expected[1])


def test_progress_counts_all_requests(pairs: dict[str, Pair]) -> None:
    model = pairs["small"].model
    requests = requests_for(model, None)
    reported: list[tuple[int, int]] = []
    model.generator.generate_many(requests, lambda *step: reported.append(step))
    steps = sum(request.length + 3 - index for index, request in enumerate(requests))
    assert reported[-1] == (steps, steps)
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(reported))


class Cancelled(BaseException):
    """Like Cog's cancellation: raised at any time, and not a subclass of Exception."""


@pytest.mark.parametrize("at", [1, 30, 300])
def test_cancelled_call_does_not_affect_the_next_one(pairs: dict[str, Pair], at: int) -> None:
    model = pairs["small"].model
    requests = requests_for(model, None)
    expected = alone(model, requests)

    def cancel(done: int, _total: int) -> None:
        if done >= at:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.generator.generate_many(requests_for(model, None), cancel)
    assert all(map(torch.equal, model.generator.generate_many(requests_for(model, None), lambda *_: None), expected))


def test_prefix_as_long_as_the_clip_is_rejected(pairs: dict[str, Pair]) -> None:
    model = pairs["small"].model
    with pytest.raises(ValueError, match="not shorter"):
        generate(model, Condition("guitar"), 10, prefix_tokens=torch.zeros(4, 10, dtype=torch.int64))
