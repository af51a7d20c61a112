"""transformers' independent MusicGen implementation gives the same most likely tokens on the same weights."""

import pytest
import torch

from bench import peers
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models import audiocraft_adapter as adapter
from tests.engine.conftest import Pair
from tests.support.tokens import generate


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_most_likely_tokens_equal_those_of_transformers(pairs: dict[str, Pair], guidance: float) -> None:
    lm, model = pairs["small"].lm, pairs["small"].model
    conditions = Condition("a fast jazz song with piano")
    sampling = Sampling(temperature=0.0, guidance=guidance)
    ours = generate(model, conditions, 60, sampling=sampling)
    with torch.no_grad():
        [text], _mask = lm.condition_provider([adapter.attributes(conditions)])["description"]
    theirs = peers.generate(
        peers.in_transformers(lm), text, 60, guidance, lambda logits: logits.argmax(-1), lambda *_: None
    )
    assert torch.equal(ours, theirs)
