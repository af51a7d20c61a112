"""Guidance moves away from a negative text, which does not affect other requests."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.slots import Slots
from tests.engine.conftest import KINDS, Pair

TEXT = "slow rock song with guitar"
NEGATIVE = "fast jazz song with piano"
"""As many tokens as `TEXT`: in a model that begins with its text the shorter one is padded, as audiocraft pads it."""
LONGER = "fast jazz song with piano , bass and drums , 120 bpm"


def engine_of(pair: Pair) -> Engine:
    assert isinstance(pair.model.generator, Engine)
    return pair.model.generator


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_moves_from_the_negative_text_to_the_text(pairs: dict[str, Pair], kind: str) -> None:
    engine, melody = engine_of(pairs[kind]), pairs[kind].melody
    codebooks = 4 * pairs[kind].model.channels
    tokens = torch.randint(0, 128, (codebooks, 30), generator=torch.Generator().manual_seed(0))
    positive = engine.score(Condition(TEXT, melody), tokens, 1.0)
    # The unconditional row sees no melody.
    negative = engine.score(Condition(NEGATIVE), tokens, 1.0)
    guided = engine.score(Condition(TEXT, melody, negative_text=NEGATIVE), tokens, 3.0)
    torch.testing.assert_close(guided, negative + 3 * (positive - negative), atol=1e-4, rtol=0)
    assert (guided - engine.score(Condition(TEXT, melody), tokens, 3.0)).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_batch_with_and_without_negative_text_equals_single_runs(pairs: dict[str, Pair], kind: str) -> None:
    pair = pairs[kind]
    conditions = [
        Condition(TEXT, pair.melody),
        Condition(TEXT, pair.melody, negative_text=NEGATIVE),
        Condition(None, pair.melody, negative_text=LONGER),
        Condition(LONGER, pair.melody, negative_text=""),
        Condition(),
    ]
    requests = [
        SlotRequest(condition, None, 20 + 5 * index, Sampling(), torch.Generator())
        for index, condition in enumerate(conditions)
    ]

    def generate(group: list[SlotRequest]) -> list[torch.Tensor]:
        seeded = [dataclasses.replace(request, generator=torch.Generator().manual_seed(7)) for request in group]
        return pair.model.generate_tokens(seeded, lambda *_: None)

    alone = [generate([request])[0] for request in requests]
    assert all(map(torch.equal, generate(requests), alone))


def test_longer_negative_text_does_not_change_conditional_row(pairs: dict[str, Pair]) -> None:
    engine = engine_of(pairs["small"])
    tokens = torch.randint(0, 128, (4, 30), generator=torch.Generator().manual_seed(0))
    plain = engine.score(Condition(TEXT), tokens, 1.0)
    torch.testing.assert_close(
        engine.score(Condition(TEXT, negative_text=LONGER), tokens, 1.0), plain, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_batched_attention_equals_per_slot_attention(
    pairs: dict[str, Pair], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[kind]
    for negative in (None, LONGER):
        conditions = [Condition(TEXT, pair.melody, negative_text=negative), Condition(NEGATIVE)]
        requests = [
            SlotRequest(condition, None, 24, Sampling(temperature=0.0), torch.Generator()) for condition in conditions
        ]
        expected = pair.model.generate_tokens(requests, lambda *_: None)
        with monkeypatch.context() as patch:
            patch.setattr(Slots, "__init__", dense)
            patch.setattr(
                torch, "empty", torch.zeros
            )  # masked positions are multiplied by zero, so they must be finite
            assert all(map(torch.equal, pair.model.generate_tokens(requests, lambda *_: None), expected)), negative


def dense(slots: Slots, *arguments: Any, init: Callable[..., None] = Slots.__init__) -> None:
    """Make slots that step as on a GPU."""
    init(slots, *arguments)
    slots.is_dense = True
