"""Clips longer than the model's window, made window by window.

The scheme is MusicGen's (section 2.2 of arXiv:2306.05284 and audiocraft's extended generation): each
window after the first starts with the last part of what is there and adds to it. Lengths are counted
in frames throughout, so that no fraction of a second is lost on the way.
"""

from collections.abc import Callable
from typing import Any

import torch

from musicgen_service.engine.interface import Sampling
from musicgen_service.models.loading import MusicModel

KEPT = 0.4
"""Share of a window that the next one starts with: 12 s of MusicGen's 30 s."""


def context_frames(model: MusicModel) -> int:
    """Frames that a window takes over from the one before."""
    return int(model.window * KEPT)


def generate_tokens(
    model: MusicModel,
    conditions_at: Callable[[int], Any],
    prompt: torch.Tensor | None,
    length: int,
    sampling: Sampling,
    report: Callable[[float], None],
) -> torch.Tensor:
    """Generate tokens for any length.

    Parameters
    ----------
    conditions_at : conditions of the window that starts at a given frame
    prompt : tokens [codebooks, frames] to go on from, fewer than a window, or None
    length : frames in all, the prompt's included
    report : told the share (0 to 1) of new frames that are done

    Returns
    -------
    int64 tensor [codebooks, length], which begins with the prompt
    """
    start, tokens = 0, prompt
    begun_with = 0 if prompt is None else prompt.shape[-1]
    while tokens is None or tokens.shape[-1] < length:
        done = 0 if tokens is None else tokens.shape[-1]
        stop = min(length, start + model.window)

        def on_step(step: int, steps: int, done: int = done, stop: int = stop) -> None:
            report((done - begun_with + (stop - done) * step / steps) / (length - begun_with))

        context = None if tokens is None else tokens[:, start:]
        window = model.generator.generate(conditions_at(start), context, stop - start, sampling, on_step)
        tokens = window if tokens is None else torch.cat([tokens[:, :start], window], dim=-1)
        start = stop - context_frames(model)
    return tokens
