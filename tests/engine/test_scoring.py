"""How likely given tokens are: as audiocraft's network says, whatever shares the steps, from any frame on."""

import threading
from typing import Any

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, ScoreRequest, SlotRequest
from tests.engine.conftest import KINDS, Pair


def engine_of(pair: Pair) -> Engine:
    assert isinstance(pair.model.generator, Engine)
    return pair.model.generator


def tokens_for(pair: Pair, frames: int, seed: int = 0) -> torch.Tensor:
    codebooks = 4 * pair.model.channels
    return torch.randint(0, 128, (codebooks, frames), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_audiocraft(pairs: dict[str, Pair], kind: str) -> None:
    pair = pairs[kind]
    tokens, condition = tokens_for(pair, 90), Condition("rock", pair.melody)
    attributes: Any = pair.reference.generator._attributes(condition)  # type: ignore[attr-defined]
    with torch.no_grad():
        expected = pair.lm.compute_predictions(tokens[None], [attributes])
    [logits] = engine_of(pair).score_many([ScoreRequest(condition, tokens)])
    known = expected.mask[0]
    torch.testing.assert_close(logits[known], expected.logits[0][known], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [1, 63, 64, 65, 99])
def test_a_score_may_begin_at_any_frame(pairs: dict[str, Pair], kind: str, start: int) -> None:
    pair = pairs[kind]
    tokens, condition = tokens_for(pair, 100), Condition("rock", pair.melody)
    every, part = engine_of(pair).score_many(
        [ScoreRequest(condition, tokens, 3.0), ScoreRequest(condition, tokens, 3.0, start)]
    )
    torch.testing.assert_close(part, every[:, start:], atol=1e-5, rtol=0)


def test_what_is_likely_is_drawn(pairs: dict[str, Pair]) -> None:
    """The tokens that are drawn greedily are the likeliest ones."""
    engine = engine_of(pairs["small"])
    greedy = SlotRequest(Condition("rock"), None, 80, Sampling(temperature=0), torch.Generator())
    [tokens] = engine.generate_many([greedy], lambda *_: None)
    [logits] = engine.score_many([ScoreRequest(Condition("rock"), tokens, 3.0)])
    assert (logits.argmax(-1) == tokens).float().mean() > 0.99  # another order of summation may break a tie


def test_scores_and_clips_share_the_steps_without_effect(pairs: dict[str, Pair], held: threading.Event) -> None:
    """A score is taken while clips are running; neither changes the other."""
    pair = pairs["small"]
    engine = engine_of(pair)
    tokens = tokens_for(pair, 70)

    def clips() -> list[torch.Tensor]:
        requests = [
            SlotRequest(Condition("rock"), None, 60 + 5 * index, Sampling(), torch.Generator().manual_seed(index))
            for index in range(3)
        ]
        return engine.generate_many(requests, lambda *_: None)

    def scores() -> torch.Tensor:
        return engine.score_many([ScoreRequest(Condition("jazz"), tokens)])[0]

    results: dict[str, Any] = {}
    workers = [
        threading.Thread(target=lambda: results.update(clips=clips())),
        threading.Thread(target=lambda: results.update(scores=scores())),
    ]
    for worker in workers:
        worker.start()
    held.set()
    for worker in workers:
        worker.join()
    assert all(map(torch.equal, results["clips"], clips()))
    assert torch.equal(results["scores"], scores())
    assert engine.load.running == 0


def test_more_scores_than_slots(pairs: dict[str, Pair]) -> None:
    pair = pairs["small"]
    requests = [ScoreRequest(Condition("rock"), tokens_for(pair, 20 + seed, seed), start=seed) for seed in range(12)]
    shapes = [tuple(logits.shape) for logits in engine_of(pair).score_many(requests)]
    assert shapes == [(4, 20, 128)] * 12


def test_nothing_to_score(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="no frame 20 among 20"):
        engine_of(pairs["small"]).score_many(
            [ScoreRequest(Condition("rock"), tokens_for(pairs["small"], 20), start=20)]
        )
    with pytest.raises(ValueError, match="scores no tokens"):
        pairs["small"].reference.generator.score_many([])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negative", [None, "fast jazz song with piano"])
def test_scores_by_steps_are_those_of_a_prefill(pairs: dict[str, Pair], kind: str, negative: str | None) -> None:
    engine, tokens = engine_of(pairs[kind]), tokens_for(pairs[kind], 20)
    condition = Condition("a rock song", pairs[kind].melody, negative_text=negative)
    for guidance in (1.0, 3.0):
        by_steps = engine.step_scores(condition, tokens, guidance)
        torch.testing.assert_close(by_steps, engine.score(condition, tokens, guidance), atol=1e-4, rtol=0)
