"""What training minimises."""

import pytest
import torch

from musicgen_service.training import objective

_NOISE = torch.Generator().manual_seed(1)
LOGITS, REFERENCE = torch.randn(2, 3, 4, 10, 8, generator=_NOISE)
TOKENS = torch.randint(8, (3, 4, 10), generator=_NOISE)


def test_the_opening_counts_as_often_as_it_is_said() -> None:
    weights = objective.opening_weights(10, 2, 5.0)
    assert weights[:2].tolist() == pytest.approx([5 / 1.8] * 2) and weights.mean() == pytest.approx(1)
    assert (weights[2:] == weights[0] / 5).all()
    assert objective.opening_weights(3, 50, 5.0).tolist() == [1.0] * 3


def test_losses_are_means_of_each_row() -> None:
    losses = objective.cross_entropy(LOGITS, TOKENS)
    expected = -LOGITS.log_softmax(-1).gather(-1, TOKENS[..., None])[..., 0]
    torch.testing.assert_close(losses, expected.mean((1, 2)))
    assert objective.distance(LOGITS, LOGITS).abs().max() < 1e-6 and (objective.distance(LOGITS, REFERENCE) > 0).all()


def test_frames_that_weigh_nothing_change_nothing() -> None:
    weights = torch.tensor([10.0] + [0.0] * 9)
    first = LOGITS[:, :, :1], TOKENS[:, :, :1]
    torch.testing.assert_close(objective.cross_entropy(LOGITS, TOKENS, weights), objective.cross_entropy(*first))
    torch.testing.assert_close(
        objective.distance(LOGITS, REFERENCE, weights), objective.distance(first[0], REFERENCE[:, :, :1])
    )
