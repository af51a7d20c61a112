"""What training minimises: the cross-entropy of songs, and the distance from the base model where that is kept."""

import torch
from torch.nn import functional

from musicgen_service.engine.pattern import DelayPattern


def arrange(pattern: DelayPattern, tokens: torch.Tensor) -> torch.Tensor:
    """Arrange tokens int64 [rows, codebooks, frames] in the delay pattern: [rows, codebooks, columns]."""
    frames = tokens.shape[-1]
    empty = pattern.layout(None, frames).to(tokens.device)
    columns = empty.expand(len(tokens), -1, -1).clone()
    for codebook, delay in enumerate(pattern.delays):
        columns[:, codebook, 1 + delay : 1 + delay + frames] = tokens[:, codebook]
    return columns


def frame_logits(pattern: DelayPattern, logits: torch.Tensor, frames: int) -> torch.Tensor:
    """Undo the delays of logits.

    Parameters
    ----------
    logits : float [rows, codebooks, columns - 1, card], each for the token of the column that follows

    Returns
    -------
    float [rows, codebooks, frames, card]
    """
    by_codebook = [logits[:, k, delay : delay + frames] for k, delay in enumerate(pattern.delays)]
    return torch.stack(by_codebook, dim=1)


def opening_weights(frames: int, opening: int, weight: float) -> torch.Tensor:
    """Weights of the frames of a clip whose first ones count `weight` times: float [frames], 1 on average."""
    weights = torch.ones(frames)
    weights[:opening] = weight
    return weights / weights.mean()


def cross_entropy(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy in nats of each row: float [rows].

    Parameters
    ----------
    logits : float [rows, codebooks, frames, card]
    tokens : int64 [rows, codebooks, frames]
    weights : float [frames], 1 on average; None where all count the same
    """
    each = functional.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none")
    return _mean(each.view(tokens.shape), weights)


def distance(logits: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean Kullback-Leibler divergence in nats of each row from the base model's predictions: float [rows].

    Parameters
    ----------
    logits, reference : float [rows, codebooks, frames, card]
    weights : see `cross_entropy`
    """
    ours, theirs = logits.float().log_softmax(-1), reference.float().log_softmax(-1)
    return _mean((theirs.exp() * (theirs - ours)).sum(-1), weights)


def _mean(each: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean of [rows, codebooks, frames] over all but rows."""
    return (each if weights is None else each * weights.to(each)).flatten(1).mean(1)
