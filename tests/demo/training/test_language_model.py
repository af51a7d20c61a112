"""The language model's losses."""

from pathlib import Path

import torch

from demo.training.language_model import conditions, create, token_losses
from demo.training.quantiser import Quantiser
from demo.training.shards import make_shard


def test_a_step_of_training_lowers_the_loss(teacher: Quantiser, t5: Path) -> None:
    torch.manual_seed(0)
    lm, _ = create(t5)
    chroma = lm.condition_provider.conditioners["self_wav"].chroma
    shard = make_shard(teacher, chroma, 0, 2, 2.0)
    given = [shard.captions[0], None], [shard.lead[0], None]
    drum_codes = teacher.drum_codes()
    optimiser = torch.optim.AdamW(lm.parameters(), 3e-4)
    before = token_losses(lm, shard.codes.long(), conditions(lm, *given), drum_codes).mean()
    torch.autograd.backward(before)
    optimiser.step()
    with torch.no_grad():
        assert token_losses(lm, shard.codes.long(), conditions(lm, *given), drum_codes).mean() < before


def test_guided_losses_differ_only_where_conditions_make_a_difference(teacher: Quantiser, t5: Path) -> None:
    torch.manual_seed(0)
    lm, _ = create(t5)
    chroma = lm.condition_provider.conditioners["self_wav"].chroma
    codes = make_shard(teacher, chroma, 0, 1, 2.0).codes.long()
    alike = conditions(lm, ["no drums", "no drums"], [None, None])
    apart = conditions(lm, ["no drums", None], [None, None])
    with torch.no_grad():
        same, other = (
            token_losses(lm, codes.repeat(2, 1, 1), tensors, teacher.drum_codes()) for tensors in (alike, apart)
        )
    assert torch.allclose(*same)  # without a difference there is nothing to guide by
    assert not torch.isclose(*other).any()
