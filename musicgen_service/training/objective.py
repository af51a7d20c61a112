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


def cross_entropy(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats of each row: float [rows].

    Parameters
    ----------
    logits : float [rows, codebooks, frames, card]
    tokens : int64 [rows, codebooks, frames]
    """
    each = functional.cross_entropy(logits.float().flatten(0, 2), tokens.flatten(), reduction="none")
    return each.view(len(tokens), -1).mean(1)


def distance(logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean Kullback-Leibler divergence in nats of each row from the base model's predictions: float [rows].

    Parameters
    ----------
    logits, reference : float [rows, codebooks, frames, card]
    """
    ours, theirs = logits.float().log_softmax(-1), reference.float().log_softmax(-1)
    each = (theirs.exp() * (theirs - ours)).sum(-1)
    return each.flatten(1).mean(1)
